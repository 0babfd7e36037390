"""A network prepared for use is the same network: in another layout, with batch norm folded, or in bf16."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mbseg.boxes.detections import RawDetections
from mbseg.create import create_segmenter
from mbseg.detectors import create_detector
from mbseg.models.class_map import class_map
from mbseg.models.detection import DetectionModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.conv import ConvNormAct
from mbseg.runtime.engines import usable_engines
from mbseg.runtime.torch_backend import Backend, Precision, changes, describe, prepare
from tests.helpers import calibrated

Model = SegmentationModel | DetectionModel

SIZE = (65, 97)
SEGMENTERS: dict[str, Callable[[], Model]] = {
    "deeplabv3 none": lambda: create_segmenter("mobilenet_v2", aspp="none", width_mult=0.35, num_classes=7),
    "deeplabv3 separable": lambda: create_segmenter("mobilenet_v2", aspp="separable", width_mult=0.35, num_classes=7),
    "deeplabv3 dense": lambda: create_segmenter("fd_mobilenet", aspp="dense", width_mult=0.35, num_classes=7),
    "deeplabv3plus": lambda: create_segmenter("mobilenet_v1", head="deeplabv3plus", width_mult=0.35, num_classes=7),
    "lraspp": lambda: create_segmenter("mobilenet_v3_small", head="lraspp", width_mult=0.5, num_classes=7),
}
NETWORKS = SEGMENTERS | {
    "ssdlite": lambda: create_detector("mobilenet_v3_small", width_mult=0.5, num_classes=3, image_size=SIZE),
}


def pictures(count: int = 8) -> Tensor:
    """Coarse colours that differ from picture to picture: the image pooling of noise would be rounding alone."""
    return F.interpolate(2 * torch.rand(count, 3, 5, 5) - 1, SIZE, mode="bilinear")


def outputs(model: Model, images: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        raw = model(images)
    return [*raw] if isinstance(raw, RawDetections) else [raw]


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Root mean square, in standard deviations of what is expected."""
    return float((found - expected).square().mean().sqrt() / expected.std())


@pytest.mark.parametrize("backend", ["eager", "fused"])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_fp32_every_backend_gives_what_the_model_gives(name: str, backend: Backend) -> None:
    images = pictures()
    model = calibrated(NETWORKS[name](), images)
    for found, expected in zip(outputs(prepare(model, backend=backend), images), outputs(model, images), strict=True):
        assert expected.std() > 0.02
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_class_maps_of_the_fused_network_differ_in_ties_alone(name: str) -> None:
    images = pictures()
    model = calibrated(SEGMENTERS[name](), images)
    plain, fused = (outputs(one, images)[0] for one in (model, prepare(model, backend="fused")))
    differ = class_map(plain, SIZE) != class_map(fused, SIZE)
    best = F.interpolate(plain, SIZE, mode="bilinear").topk(2, dim=1).values
    assert bool(((best[:, 0] - best[:, 1])[differ] < 2e-4).all())


@pytest.mark.parametrize("backend", ["eager", "fused"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_in_bf16_gives_from_the_same_map_what_it_gives_in_fp32(name: str, backend: Backend) -> None:
    """Layer by layer, as networks of random weights magnify every rounding (docs/decisions/0005: what could be wrong).

    Rounding the map, the weights and the result to 8 bits makes about 0.5 %.
    """
    images = pictures()
    model = calibrated(NETWORKS[name](), images)
    twins = dict(prepare(model, backend=backend, precision="bf16").named_modules())
    errors: dict[str, float] = {}

    def compare(layer: str, inputs: tuple[Tensor], output: Tensor) -> None:
        errors[layer] = relative_error(twins[layer](inputs[0].to(torch.bfloat16)).float(), output)

    for layer, module in model.named_modules():
        if isinstance(module, ConvNormAct):
            module.register_forward_hook(lambda _, inputs, output, layer=layer: compare(layer, inputs, output))
    outputs(model, images)
    assert len(errors) > 15
    assert max(errors.values()) < 0.03, errors


@pytest.mark.parametrize("backend", ["eager", "fused"])
@pytest.mark.parametrize("name", ["lraspp", "ssdlite"])
def test_bf16_gives_float32_and_takes_pictures_in_any_layout(name: str, backend: Backend) -> None:
    images = pictures(2)
    prepared = prepare(calibrated(NETWORKS[name](), images), backend=backend, precision="bf16")
    assert {weight.dtype for weight in prepared.parameters()} == {torch.bfloat16}
    last = outputs(prepared, images.contiguous(memory_format=torch.channels_last))
    for found, same in zip(outputs(prepared, images), last, strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, same)


@pytest.mark.parametrize("backend", ["eager", "fused"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_model_itself_stays_as_it_was(backend: Backend, precision: Precision) -> None:
    model = SEGMENTERS["lraspp"]().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prepared = prepare(model, backend=backend, precision=precision)
    outputs(prepared, pictures(1))
    assert not any(module.training for module in prepared.modules())
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(after[name].dtype == before[name].dtype and torch.equal(after[name], before[name]) for name in before)


def test_a_prepared_detector_keeps_its_default_boxes() -> None:
    model = NETWORKS["ssdlite"]()
    prepared = prepare(model, backend="fused", precision="bf16")
    assert isinstance(model, DetectionModel) and isinstance(prepared, DetectionModel)
    assert torch.equal(prepared.default_boxes(SIZE), model.default_boxes(SIZE))


def test_words_for_a_latency_and_for_a_score() -> None:
    assert describe() == "torch eager channels_last fp32"
    assert describe("fused", "bf16") == "torch fused channels_last bf16"
    assert changes("eager", "fp32") == []
    assert changes("fused", "bf16") == ["bf16", "batch norm fused"]


def test_a_compiled_network_is_the_same_network() -> None:
    images = pictures(2)
    model = calibrated(create_segmenter("mobilenet_v1", width_mult=0.25, num_classes=3), images)
    ((compiled,), (fused,)) = (outputs(prepare(model, backend=name), images[:1]) for name in ("compiled", "fused"))
    assert fused.std() > 0.05
    torch.testing.assert_close(compiled, fused, rtol=1e-3, atol=1e-3)


def test_auto_never_waits_for_a_compiler() -> None:
    assert "compiled" not in usable_engines("fp32", torch.device("cpu"))
