"""Weights files and exported files become predictors with the same answers, whatever runs them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mbseg import build_common, build_detection, build_segmentation
from mbseg.build import load
from mbseg.config.load import make_experiment
from mbseg.errors import ConfigError, WeightsError
from mbseg.exporting import Wanted, export
from mbseg.models.framing import Protocol
from mbseg.models.prediction import Predictor
from mbseg.nn.norm import Normalize
from mbseg.predictors import Loaded, load_predictor
from mbseg.runtime.agreement import Agreement
from mbseg.runtime.answers import UInt8Array
from mbseg.runtime.engines import drawn_frame
from mbseg.runtime.names import Backend
from mbseg.weights.store import save_weights
from tests.helpers import calibrated

FRAME = (60, 90)
SEGMENTER = {
    "device": "cpu",
    "threads": 1,
    "data": {"kind": "camvid", "root": "datasets/camvid"},
    "model": {"backbone": {"name": "mobilenet_v3_small", "width_mult": 0.35}, "head": {"kind": "lraspp"}},
    "train": {"steps": 1},
}
DETECTOR = {
    "task": "detection",
    "device": "cpu",
    "threads": 1,
    "data": {"kind": "voc", "root": "datasets/voc2012"},
    "model": {"backbone": {"name": "mobilenet_v3_small", "width_mult": 0.35}, "image_size": (64, 96)},
    "train": {"steps": 1},
}


def patches(size: tuple[int, int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(torch.randn(16, 3, 5, 5), size)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that sees differences, though it was never trained."""
    torch.manual_seed(0)
    experiment = make_experiment(SEGMENTER, source="test")
    model = calibrated(build_segmentation.model(experiment.model, 11, weights=False), patches((65, 97)))
    file = tmp_path_factory.mktemp("weights") / "segmenter.safetensors"
    save_weights(file, model.state_dict(), build_common.model_card(experiment, {}))
    return file


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    experiment = make_experiment(DETECTOR, source="test")
    model = calibrated(build_detection.model(experiment.model, 20, weights=False), patches((64, 96)))
    with torch.no_grad():
        for predictor in model.head.class_predictors:
            predictor.get_parameter("pointwise.weight").normal_(std=0.5)
    file = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    save_weights(file, model.state_dict(), build_common.model_card(experiment, {}))
    return file


def loaded(target: Path, *overrides: str, backend: Backend = "torch", **options: float | None) -> Loaded:
    return load_predictor(str(target), overrides, run=Path(), backend=backend, **options)


def frame() -> UInt8Array:
    return drawn_frame(FRAME)


def shares(expected: Loaded, found: Loaded) -> dict[str, float]:
    agreement = Agreement()
    for image in (frame(), frame()[::-1].copy(), frame()[:, ::-1].copy()):
        agreement.add(expected.predictor(image), found.predictor(image))
    return agreement.shares


def test_torch_gives_the_class_map_of_the_evaluation_and_says_what_it_means(segmenter: Path) -> None:
    found, model = loaded(segmenter), load(segmenter)
    assert model.card is not None
    predictor = Predictor(model, Normalize(model.card.mean, model.card.std), Protocol())
    expected = predictor(torch.from_numpy(frame()).permute(2, 0, 1)[None])[0].numpy()
    mask = found.predictor(frame()).mask
    assert mask is not None
    assert len(np.unique(expected)) > 2
    assert np.mean(mask == expected) > 0.99  # batch norm is folded: a pixel may change sides
    assert (found.task, found.origin, found.classes) == ("segmentation", str(segmenter), model.card.classes)
    assert found.palette == model.card.palette
    assert found.predictor.input_size(FRAME) == predictor.input_size(FRAME)
    assert found.predictor.description == "torch fp32, 1 threads"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_converted_networks_answer_as_torch_does(backend: Backend, segmenter: Path, detector: Path) -> None:
    for weights in (segmenter, detector):
        found = loaded(weights, backend=backend)
        assert found.predictor.description == f"{backend} fp32, 1 threads"
        assert all(share >= 0.995 for share in shares(loaded(weights), found).values())


def test_several_scales_and_the_mirror_image_go_through_every_engine(segmenter: Path) -> None:
    passes = ["evaluate.scales=[0.75, 1.25]", "evaluate.flip=true"]
    assert shares(loaded(segmenter, *passes), loaded(segmenter, *passes, backend="onnxruntime"))["pixels"] >= 0.995


@pytest.mark.parametrize(("kind", "size"), [("onnx", None), ("openvino", (48, 72))])
def test_exported_segmenters_answer_as_the_weights_do(
    kind: str, size: tuple[int, int] | None, segmenter: Path, tmp_path: Path
) -> None:
    path = tmp_path / ("small.onnx" if kind == "onnx" else "small.xml")
    export(str(segmenter), [], Wanted(kind, size=size, output=path), run=Path())
    found = loaded(path, backend="auto")
    mask = found.predictor(frame()).mask
    assert mask is not None
    assert (mask.shape, found.task, found.origin) == (FRAME, "segmentation", str(path))
    if size is None:
        assert shares(loaded(segmenter), found)["pixels"] >= 0.995
    with pytest.raises(ConfigError, match=r"--precision bf16: .* was exported in fp32"):
        load_predictor(str(path), run=Path(), precision="bf16")


def test_exported_detectors_answer_as_the_weights_do_and_leave_out_what_is_less_probable(
    detector: Path, tmp_path: Path
) -> None:
    export(str(detector), [], Wanted("onnx", output=tmp_path / "small.onnx"), run=Path())
    for least in (0.5, 0.8):
        expected = loaded(detector, least_score=least)
        found = loaded(tmp_path / "small.onnx", backend="auto", least_score=least)
        boxes = found.predictor(frame()).detections
        assert boxes is not None
        assert len(boxes.scores) > 10
        assert boxes.scores.min() > least
        assert shares(expected, found)["detections"] >= 0.95  # random weights magnify how the frame was resized


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_score": 0.3}, "--least-score is for detection"),
        ({"longer_side": 31}, "--longer-side is 31; it must be 32 to 4096"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], message: str, segmenter: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(segmenter, **options)


def test_a_file_that_was_not_exported_by_mbseg_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"other\.onnx"):
        loaded(tmp_path / "other.onnx", backend="auto")
