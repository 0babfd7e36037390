"""Which engines there are, what each can do, and that the fastest is taken."""

import importlib.util
import time
from importlib.machinery import ModuleSpec
from typing import final

import numpy as np
import pytest
import torch

from mbseg.boxes.geometry import Size
from mbseg.errors import ConfigError
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.runtime.engines import check_engine, drawn_frame, fastest, usable_engines

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FRAME = (8, 12)


@final
class Waiting(FramePredictor):
    """Takes some milliseconds for a frame, or cannot run at all."""

    description = "waiting"

    def __init__(self, milliseconds: float, *, is_able: bool = True) -> None:
        self.milliseconds = milliseconds
        self.is_able = is_able
        self.frames: list[UInt8Array] = []

    def __call__(self, image: UInt8Array) -> Answer:
        if not self.is_able:
            raise RuntimeError("no such operator\nand much more")
        self.frames.append(image)
        time.sleep(self.milliseconds / 1000)
        return Answer()

    def input_size(self, picture: Size) -> Size:
        return picture


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec

    def found(name: str) -> ModuleSpec | None:
        return None if name == "openvino" else find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def test_the_fastest_is_taken_and_all_are_measured_on_frames_of_that_size() -> None:
    predictors = {"torch": Waiting(8), "onnxruntime": Waiting(1), "openvino": Waiting(4)}
    chosen = fastest(predictors, FRAME, seconds=0.1)
    assert chosen.predictor is predictors["onnxruntime"]
    assert list(chosen.milliseconds) == ["onnxruntime", "openvino", "torch"]
    for name, predictor in predictors.items():
        assert chosen.milliseconds[name] >= predictor.milliseconds
        assert {frame.shape for frame in predictor.frames} == {(*FRAME, 3)}


def test_a_single_one_and_frames_of_no_known_size_are_not_measured() -> None:
    one, other = Waiting(1), Waiting(0)
    assert fastest({"openvino": one}, FRAME) == (one, {})
    assert fastest({"torch": one, "openvino": other}, None) == (one, {})
    assert not one.frames


def test_what_cannot_run_the_network_is_left_out_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    slow, unable = Waiting(2), Waiting(0, is_able=False)
    chosen = fastest({"torch": slow, "openvino": unable}, FRAME, seconds=0.05)
    assert chosen.predictor is slow
    assert list(chosen.milliseconds) == ["torch"]
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "no such operator" in record.message
    assert "\n" not in record.message


def test_where_no_engine_can_run_the_network_one_line_says_so() -> None:
    unable = Waiting(0, is_able=False)
    with pytest.raises(ConfigError, match="neither onnxruntime nor openvino can run this network"):
        fastest({"onnxruntime": unable, "openvino": unable}, FRAME)


def test_engines_are_usable_where_they_are_installed_and_have_the_precision() -> None:
    assert usable_engines("fp32", CPU) == ["torch", "onnxruntime", "openvino"]
    assert usable_engines("bf16", CPU) == ["torch", "openvino"]
    assert usable_engines("fp32", CUDA) == ["torch"]


@pytest.mark.usefixtures("without_openvino")
def test_an_engine_that_is_not_installed_is_not_tried_and_its_extra_is_named() -> None:
    assert usable_engines("fp32", CPU) == ["torch", "onnxruntime"]
    with pytest.raises(ConfigError, match=r"openvino is not installed.*pip install 'mbseg\[openvino\]'"):
        check_engine("openvino", "fp32", CPU)


def test_an_engine_is_refused_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="onnxruntime has no bf16; use torch, compiled, openvino"):
        check_engine("onnxruntime", "bf16", CPU)
    with pytest.raises(ConfigError, match="runs on the CPU here, and the device is cuda"):
        check_engine("openvino", "fp32", CUDA)
    check_engine("torch", "bf16", CUDA)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (240, 320)])
def test_drawn_frames_have_the_size_asked_for(size: Size) -> None:
    frame = drawn_frame(size)
    assert (frame.shape, frame.dtype) == ((*size, 3), np.uint8)
