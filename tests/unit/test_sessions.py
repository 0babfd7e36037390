"""Both engines run the same graph to the same tensors, wherever it is stopped and whatever the size."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mbseg.errors import ConfigError, WeightsError
from mbseg.runtime import openvino_session
from mbseg.runtime.names import SessionEngine
from mbseg.runtime.sessions import Array, open_session

if TYPE_CHECKING:
    from onnx import ModelProto

ENGINES: tuple[SessionEngine, ...] = ("onnxruntime", "openvino")
GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
small (uint8[1, height, width, 3] image) => (float[1, 4, rows, columns] doubled)
<float[4, 3, 3, 3] weight = {WEIGHT}, float two = {2}>
{
    values = Cast <to = 1> (image)
    images = Transpose <perm = [0, 3, 1, 2]> (values)
    logits = Conv (images, weight)
    doubled = Mul (logits, two)
}
"""


def weight() -> torch.Tensor:
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def graph() -> "ModelProto":
    """A convolution of a frame of any size, and twice that."""
    from onnx import parser

    return parser.parse_model(GRAPH.replace("WEIGHT", ", ".join(f"{value:.9g}" for value in weight().flatten())))


def frame(height: int, width: int) -> Array:
    return np.random.default_rng(height).integers(0, 256, (1, height, width, 3)).astype(np.uint8)


def logits_of(image: Array) -> Array:
    """By torch."""
    result: Array = F.conv2d(torch.from_numpy(image).permute(0, 3, 1, 2).float(), weight()).numpy()
    return result


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_gives_its_outputs_for_frames_of_any_size(engine: SessionEngine, graph: "ModelProto") -> None:
    session = open_session(graph, engine)
    assert dict(session.inputs) == {"image": (1, None, None, 3)}
    assert session.outputs == ("doubled",)
    for size in ((9, 12), (9, 12), (9, 12), (20, 7), (9, 12), (20, 7)):  # OpenVINO compiles anew for some of them
        image = frame(*size)
        np.testing.assert_allclose(session(image)["doubled"], 2 * logits_of(image), rtol=1e-4, atol=1e-2)


def test_files_are_answered_alike_whatever_came_before(graph: "ModelProto", monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is compiled for one size may round otherwise than the one for all sizes."""
    compiled: list[object] = []
    original = openvino_session.OpenVinoSession._compile
    monkeypatch.setattr(
        openvino_session.OpenVinoSession,
        "_compile",
        lambda self, model: [compiled.append(model), original(self, model)][1],
    )
    for for_stream, count in ((False, 1), (True, 2)):
        compiled.clear()
        session = open_session(graph, "openvino", for_stream=for_stream)
        results = [session(frame(9, 12))["doubled"] for _ in range(3)]
        assert len(compiled) == count
        assert for_stream or all(np.array_equal(results[0], result) for result in results)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("from_file", [False, True])
def test_a_graph_can_be_stopped_at_a_tensor_inside(
    engine: SessionEngine, from_file: bool, graph: "ModelProto", tmp_path: Path
) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(graph.SerializeToString())
    session, image = open_session(path if from_file else graph, engine, outputs=["logits"]), frame(9, 12)
    found = session(image)
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], logits_of(image), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
def test_results_outlive_the_next_call(engine: SessionEngine, graph: "ModelProto") -> None:
    session, image = open_session(graph, engine), frame(9, 12)
    found = session(image)["doubled"]
    kept = found.copy()
    session(255 - image)
    np.testing.assert_array_equal(found, kept)


def test_only_bf16_rounds(graph: "ModelProto") -> None:
    """OpenVINO takes bf16 by itself where the CPU has it, unless it is told otherwise."""
    image = frame(33, 49)
    exact = logits_of(image)
    errors = {
        precision: np.abs(
            open_session(graph, "openvino", precision=precision, outputs=["logits"])(image)["logits"] - exact
        ).max()
        for precision in ("fp32", "bf16")
    }
    assert errors["fp32"] < 1e-5 * np.abs(exact).max()
    if "BF16" in openvino_session.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert errors["bf16"] > 100 * errors["fp32"]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unknown_tensor_and_a_broken_file_are_one_line(
    engine: SessionEngine, graph: "ModelProto", tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no tensor named"):
        open_session(graph, engine, outputs=["nothing"])
    path = tmp_path / "broken.onnx"
    path.write_bytes(graph.SerializeToString()[:100])
    with pytest.raises(WeightsError, match=r"cannot read .*broken\.onnx") as caught:
        open_session(path, engine)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"cannot read .*broken\.onnx"):
        open_session(path, engine, outputs=["nothing"])


def test_threads_and_precision_stand_in_the_description(graph: "ModelProto") -> None:
    assert open_session(graph, "onnxruntime", threads=1).description == "onnxruntime fp32, 1 threads"
    assert open_session(graph, "openvino", precision="bf16", threads=2).description == "openvino bf16, 2 threads"


def test_openvino_reports_nothing_to_its_makers() -> None:
    code = (
        "from mbseg.runtime.openvino_session import quiet_openvino; quiet_openvino(); "
        "from openvino.tools import ovc; print(type(ovc.telemetry).__module__)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "openvino.tools.ovc.telemetry_stub"
