"""Rounding on the way forward, nothing on the way back: networks that train for an int8 file."""

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbseg.create import create_segmenter
from mbseg.detectors import create_detector
from mbseg.errors import ConfigError
from mbseg.nn.conv import Conv2d, ConvNormAct, TensorFlowConv2d
from mbseg.nn.fake_quantize import FakeQuantConv2d, RoundActivations, RoundWeights, fake_quantized
from mbseg.nn.fuse import fused
from tests.helpers import calibrated


def through_onnxruntime(values: Tensor, scale: Tensor, zero_point: NDArray[np.generic], axis: int | None) -> Tensor:
    """QuantizeLinear and DequantizeLinear as the exported file runs them."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    axes = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], **axes),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], **axes),
    ]
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(values.shape)) for name in "xy"]
    constants = [numpy_helper.from_array(scale.numpy(), "scale"), numpy_helper.from_array(zero_point, "zero")]
    graph = helper.make_graph(nodes, "round", infos[:1], infos[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": values.numpy()})[0])


def test_weights_are_rounded_as_onnxruntime_rounds_them_per_channel() -> None:
    weight = torch.randn(6, 4, 3, 3) * torch.logspace(-3, 2, 6).view(6, 1, 1, 1)
    scale = weight.abs().amax((1, 2, 3)) / 127
    expected = through_onnxruntime(weight, scale, np.zeros(6, np.int8), axis=0)
    assert torch.equal(RoundWeights.apply(weight), expected)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 6.0), (-4.0, -1.0)])
def test_maps_are_rounded_as_onnxruntime_rounds_them(low: float, high: float) -> None:
    maps = torch.empty(2, 5, 7, 9).uniform_(low, high)
    reach = (min(maps.min().item(), 0), max(maps.max().item(), 0))  # 0 is always among the values: padding
    scale = torch.tensor((reach[1] - reach[0]) / 255)
    zero_point = np.array(round(-reach[0] / scale.item()), np.uint8)
    torch.testing.assert_close(RoundActivations.apply(maps), through_onnxruntime(maps, scale, zero_point, axis=None))


def test_rounded_values_lie_on_the_grid_and_no_further_than_half_a_step() -> None:
    weight, maps = torch.randn(8, 16, 1, 1), torch.randn(2, 16, 9, 9).relu()
    rounded = RoundWeights.apply(weight)
    assert all(len(channel.unique()) <= 16 for channel in rounded)
    step = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    assert bool(((rounded - weight).abs() <= 0.5001 * step).all())
    torch.testing.assert_close((rounded / step).round(), rounded / step, rtol=0, atol=1e-4)
    assert len(RoundActivations.apply(maps).unique()) <= 256
    assert float((RoundActivations.apply(maps) - maps).abs().max()) <= 0.5001 * float(maps.max()) / 255


@pytest.mark.parametrize("rounded", [RoundWeights, RoundActivations])
def test_what_is_zero_throughout_stays_zero(rounded: type[torch.autograd.Function]) -> None:
    zeros = torch.zeros(3, 4, 5, 5)
    assert torch.equal(rounded.apply(zeros), zeros)


@pytest.mark.parametrize("rounded", [RoundWeights, RoundActivations])
def test_the_gradient_passes_straight_through(rounded: type[torch.autograd.Function]) -> None:
    values = torch.randn(3, 4, 5, 5, requires_grad=True)
    gradient = torch.randn(3, 4, 5, 5)
    rounded.apply(values).backward(gradient)
    assert values.grad is not None and torch.equal(values.grad, gradient)


def test_rounding_before_batch_norm_is_folded_in_is_rounding_behind_it() -> None:
    layer = calibrated(ConvNormAct(5, 7, 3), torch.randn(4, 5, 9, 9))
    nn.init.uniform_(layer.norm.weight, -2, 2)  # a mirrored channel has a mirrored grid
    folded = fused(layer).conv.get_parameter("weight")
    factor = (layer.norm.weight / (layer.norm.running_var + layer.norm.eps).sqrt()).view(-1, 1, 1, 1)
    torch.testing.assert_close(RoundWeights.apply(folded), RoundWeights.apply(layer.conv.weight) * factor)


def test_a_twin_convolves_rounded_maps_with_rounded_weights_and_learns_the_exact_ones() -> None:
    plain = Conv2d(6, 4, 3, padding=1, stride=2)
    twin = fake_quantized(plain)
    images = torch.randn(2, 6, 9, 9)
    torch.testing.assert_close(
        twin(images),
        nn.functional.conv2d(
            RoundActivations.apply(images), RoundWeights.apply(plain.weight), plain.bias, stride=2, padding=1
        ),
    )
    assert torch.equal(twin.weight, plain.weight) and twin.weight is not plain.weight
    twin(images).sum().backward()
    assert twin.weight.grad is not None and plain.weight.grad is None


@pytest.mark.parametrize(
    "network",
    [
        create_segmenter("mobilenet_v3_small", head="lraspp", width_mult=0.35, num_classes=3),
        create_detector("mobilenet_v2", width_mult=0.35, num_classes=3, image_size=96),
    ],
    ids=["lraspp", "ssdlite"],
)
def test_every_convolution_of_a_network_rounds_and_the_state_dict_is_that_of_the_plain_one(network: nn.Module) -> None:
    twin = fake_quantized(network)
    convolutions = [part for part in twin.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) > 20 and all(isinstance(part, FakeQuantConv2d) for part in convolutions)
    assert not any(isinstance(part, FakeQuantConv2d) for part in network.modules())
    assert [*twin.state_dict()] == [*network.state_dict()]
    network.load_state_dict(twin.state_dict())


def test_a_rounded_detector_still_knows_the_sizes_of_its_maps() -> None:
    """They are found on the meta device, where not every kernel of torch exists."""
    detector = create_detector("mobilenet_v2", width_mult=0.35, num_classes=3, image_size=96)
    assert fake_quantized(detector).feature_sizes((96, 128)) == detector.feature_sizes((96, 128))


def test_padding_depends_on_the_size_as_before() -> None:
    plain = TensorFlowConv2d(3, 4, 3, stride=2)
    assert fake_quantized(plain)(torch.randn(1, 3, 10, 10)).shape == plain(torch.randn(1, 3, 10, 10)).shape


def test_a_depthwise_convolution_with_a_stride_stays_in_fp32_under_autocast() -> None:
    twin = fake_quantized(Conv2d(4, 4, 3, stride=2, groups=4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert twin(torch.randn(1, 4, 9, 9)).dtype == torch.float32


def test_a_convolution_with_a_forward_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot round conv_stem, a Conv2dSame"):
        fake_quantized(timm.create_model("tf_mobilenetv3_small_minimal_100"))
