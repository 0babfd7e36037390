"""Exported graphs in int8: the network and nothing else, close to what it was, without a trace or a word."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mbseg.boxes.postprocess import Selection
from mbseg.create import create_segmenter
from mbseg.detectors import create_detector
from mbseg.errors import ConfigError
from mbseg.models.framing import Protocol, framing_of
from mbseg.nn.norm import Normalize
from mbseg.runtime.answers import UInt8Array
from mbseg.runtime.frame_graphs import detection_to_onnx, segmentation_to_onnx
from mbseg.runtime.openvino_session import core
from mbseg.runtime.quantize import between
from mbseg.runtime.quantize_onnx import network_nodes, prepare, quantize_onnx
from mbseg.runtime.quantize_openvino import quantize_openvino
from tests.helpers import calibrated

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NORMALIZE = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZE = (65, 97)


def picture(seed: int) -> UInt8Array:
    """Coarse colours, so that neighbours belong together as in a photograph."""
    colours = np.random.default_rng(seed).uniform(0, 255, (3, 6, 8)).astype(np.float32)
    smooth = nn.functional.interpolate(torch.from_numpy(colours)[None], SIZE, mode="bilinear")
    return np.ascontiguousarray(smooth[0].permute(1, 2, 0).to(torch.uint8).numpy())


PICTURES = [picture(seed) for seed in range(6)]


def segmenter() -> Any:
    """A shallow one: random weights magnify every rounding, layer by layer."""
    model = create_segmenter("mobilenet_v2", head_at="c2", width_mult=0.35, num_classes=5, head_channels=32)
    calibrate(model)
    return segmentation_to_onnx(model, NORMALIZE, framing_of(model, Protocol()))


def detector() -> Any:
    model = create_detector("mobilenet_v1", width_mult=0.25, num_classes=2, image_size=SIZE)
    calibrate(model)
    return detection_to_onnx(model, NORMALIZE, Selection())


def calibrate(model: nn.Module) -> None:
    calibrated(model, NORMALIZE(torch.from_numpy(np.stack(PICTURES)).permute(0, 3, 1, 2)))


@pytest.fixture(scope="module")
def graphs() -> dict[str, Any]:
    return {"segmenter": segmenter(), "detector": detector()}


@pytest.fixture(scope="module")
def quantized(graphs: dict[str, Any]) -> dict[str, Any]:
    return {name: quantize_onnx(graph, PICTURES) for name, graph in graphs.items()}


def run_onnx(model: Any, image: UInt8Array) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(
        zip((output.name for output in session.get_outputs()), session.run(None, {"image": image[None]}), strict=True)
    )


def with_logits(model: Any) -> Any:
    """The same with the network's own answer as an output: it stands in the graph under its name."""
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    extended.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None))
    return extended


def test_between_are_the_nodes_on_a_way_from_an_anchor_to_another() -> None:
    edges = {"a": {"first"}, "first": {"b", "side"}, "b": {"c"}, "c": {"last"}, "side": set(), "last": {"z"}}
    assert between({"first", "last"}, edges) == {"first", "b", "c", "last"}
    assert between({"b"}, edges) == {"b"}
    assert between(set(), edges) == set()


@pytest.mark.parametrize("name", ["segmenter", "detector"])
def test_weights_are_symmetric_per_channel_and_maps_uint8_per_tensor(name: str, quantized: dict[str, Any]) -> None:
    graph = quantized[name].graph
    constants = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    sources = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) >= 10
    for node in convolutions:
        maps, weights = (sources[tensor] for tensor in node.input[:2])
        assert maps.op_type == weights.op_type == "DequantizeLinear"
        values, scale, zero_point = (constants[tensor] for tensor in weights.input)
        assert values.dtype == np.int8 and scale.shape == (len(values),) and not zero_point.any()
        assert np.abs(values.astype(int)).max() == 127
        assert constants[maps.input[2]].dtype == np.uint8 and constants[maps.input[1]].shape == ()


@pytest.mark.parametrize("name", ["segmenter", "detector"])
def test_what_is_before_and_behind_the_network_stays_in_float(
    name: str, graphs: dict[str, Any], quantized: dict[str, Any]
) -> None:
    before, after = prepare(graphs[name]).graph, quantized[name].graph
    network = network_nodes(before)
    outside = {node.name: node.op_type for node in before.node if node.name not in network}
    kinds = {"segmenter": {"Resize"}, "detector": {"Softmax", "NonMaxSuppression"}}[name]
    assert kinds <= {*outside.values()} and "Conv" not in outside.values()
    assert outside.items() <= {node.name: node.op_type for node in after.node}.items()
    rounded = {node.input[0] for node in after.node if node.op_type == "QuantizeLinear"}
    made_outside = {tensor for node in before.node if node.name in outside for tensor in node.output}
    first = next(node for node in before.node if node.op_type == "Conv")
    assert rounded & made_outside == {first.input[0]}


@pytest.mark.parametrize("name", ["segmenter", "detector"])
def test_inputs_outputs_and_notes_are_as_before(name: str, graphs: dict[str, Any], quantized: dict[str, Any]) -> None:
    before, after = graphs[name], quantized[name]
    onnx.checker.check_model(after, full_check=True)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert list(after.metadata_props) == list(before.metadata_props)
    assert list(after.graph.value_info) == list(before.graph.value_info)


def relative_error(found: Any, expected: Any) -> float:
    return float(np.sqrt(np.square(found - expected).mean()) / expected.std())


def test_answers_stay_close_on_pictures_that_were_not_calibrated_on(
    graphs: dict[str, Any], quantized: dict[str, Any]
) -> None:
    expected, found = (run_onnx(with_logits(some["segmenter"]), picture(99)) for some in (graphs, quantized))
    assert relative_error(found["logits"], expected["logits"]) < 0.2
    assert (found["class_map"] == expected["class_map"]).mean() > 0.9


def test_frames_of_any_size_are_still_taken(quantized: dict[str, Any]) -> None:
    class_map = run_onnx(quantized["segmenter"], picture(99)[:50, :70])["class_map"]
    assert class_map.shape == (1, 50, 70) and class_map.dtype == np.uint8


def test_openvino_rounds_the_network_and_keeps_the_names(graphs: dict[str, Any]) -> None:
    model = quantize_openvino(graphs["segmenter"], PICTURES)
    kinds = [node.get_type_name() for node in model.get_ordered_ops()]
    convolutions = kinds.count("Convolution") + kinds.count("GroupConvolution")
    weights = [node for node in model.get_ordered_ops() if str(node.get_output_element_type(0)) == "<Type: 'int8_t'>"]
    assert convolutions >= 10 and len(weights) == convolutions and kinds.count("FakeQuantize") >= convolutions
    assert [model.input(0).any_name, *(output.any_name for output in model.outputs)] == ["image", "class_map"]
    model.add_outputs("logits")
    image = picture(99)
    found = core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})({"image": image[None]})
    expected = run_onnx(with_logits(graphs["segmenter"]), image)
    assert relative_error(found["logits"], expected["logits"]) < 0.2
    assert (found["class_map"] == expected["class_map"]).mean() > 0.9


@pytest.mark.parametrize(
    "quantize", [lambda graph: quantize_onnx(graph, PICTURES[:1]), lambda graph: quantize_openvino(graph, PICTURES[:1])]
)
def test_nothing_is_said_changed_or_left_behind(
    quantize: Callable[[Any], None],
    graphs: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = graphs["segmenter"].SerializeToString(deterministic=True)
    quantize(graphs["segmenter"])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert graphs["segmenter"].SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("missing", "quantize", "extra"),
    [("onnxruntime", quantize_onnx, "export"), ("nncf", quantize_openvino, "openvino")],
)
def test_a_missing_library_is_named_with_what_installs_it(
    missing: str, quantize: Callable[..., Any], extra: str, graphs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"{missing} is not installed.*pip install 'mbseg\[{extra}\]'"):
        quantize(graphs["segmenter"], PICTURES)
