import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from mbseg.analysis.profile import profile
from mbseg.create import create_backbone
from mbseg.detectors import create_detector
from mbseg.errors import ConfigError
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.blocks import InvertedResidual

SIZE = (9, 13)
PIXELS = 9 * 13
PREPROCESSING = 3 * PIXELS


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.reduce(functional.adaptive_avg_pool2d(x, 1)))


@pytest.fixture
def segmenter():
    backbone = create_backbone("mobilenet_v2", width_mult=0.35, output_stride=16, taps=("c5",))
    return SegmentationModel(backbone, DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=4, aspp="dense"))


@pytest.fixture
def detector():
    return create_detector("mobilenet_v3_small", width_mult=0.35, num_classes=3, image_size=(96, 64))


def tf_madds(model: nn.Module) -> int:
    return profile(model, image_size=SIZE, accounting="tf").madds


def arg_max(classes: int) -> float:
    return 0.5 * classes * PIXELS


def test_a_convolution_costs_output_pixels_times_filter_size():
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert profile(conv, image_size=SIZE).madds == 5 * 7 * 8 * 3 * 9


def test_groups_divide_the_cost_of_a_convolution():
    conv = nn.Conv2d(3, 6, (5, 3), groups=3, padding=(2, 1), bias=False)
    assert profile(conv, image_size=SIZE).madds == PIXELS * 6 * 15


def test_tf_pads_a_dilated_convolution_to_multiples_of_the_rate():
    conv = nn.Conv2d(3, 2, 3, dilation=4, padding=4, bias=False)
    assert tf_madds(conv) == round(12 * 16 * 2 * 3 * 9 + PREPROCESSING + arg_max(2))


def test_tf_does_not_pad_a_1x1_convolution_with_a_rate():
    conv = nn.Conv2d(3, 2, 1, dilation=4, bias=False)
    assert tf_madds(conv) == round(PIXELS * 2 * 3 + PREPROCESSING + arg_max(2))


def test_tf_charges_half_a_multiply_add_for_each_biased_element():
    biased, plain = (nn.Conv2d(3, 4, 1, bias=bias) for bias in (True, False))
    assert tf_madds(biased) - tf_madds(plain) == 0.5 * 4 * PIXELS


def test_tf_charges_half_a_multiply_add_for_each_element_of_a_residual_addition():
    with_shortcut, without = (InvertedResidual(3, 8, 3, shortcut=shortcut) for shortcut in (True, False))
    assert tf_madds(with_shortcut) - tf_madds(without) == round(0.5 * 3 * PIXELS + 0.5)  # totals are rounded to even


def test_tf_charges_three_halves_for_each_element_of_h_swish():
    assert tf_madds(nn.Hardswish(inplace=True)) == round(1.5 * 3 * PIXELS + PREPROCESSING + arg_max(3))


def test_tf_charges_a_squeeze_and_excite_product_once_an_element():
    assert tf_madds(SqueezeExcite()) == round(3 * PIXELS + 3 * 3 + PREPROCESSING + arg_max(3))


def test_tf_charges_no_other_element_wise_work():
    free = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU6(), nn.AvgPool2d(3, 1, 1), nn.Upsample(size=SIZE, mode="bilinear"))
    assert tf_madds(free) == round(PREPROCESSING + arg_max(3))


def test_passes_are_summed_at_their_own_sizes(segmenter):
    sizes = [(33, 49), (65, 97), (113, 169)]
    single = [profile(segmenter, image_size=size, accounting="tf").madds for size in sizes]
    passes = profile(segmenter, image_size=(65, 97), accounting="tf", scales=(0.5, 1.0, 1.75), flip=True)
    assert passes.madds == pytest.approx(2 * sum(single), abs=3)  # each is rounded by itself


def test_peak_memory_is_that_of_the_largest_pass(segmenter):
    passes = profile(segmenter, image_size=(65, 97), scales=(0.5, 1.75), flip=True)
    assert passes.peak_activation_bytes == profile(segmenter, image_size=(113, 169)).peak_activation_bytes


@pytest.mark.parametrize("accounting", ["native", "tf"])
def test_layers_add_up_to_the_whole(segmenter, accounting):
    cost = profile(segmenter, image_size=(65, 97), accounting=accounting, scales=(1.0, 2.0), flip=True)
    assert sum(layer.params for layer in cost.layers) == cost.params
    assert round(sum(layer.madds for layer in cost.layers)) == cost.madds


def test_every_layer_is_named_by_its_module(segmenter):
    modules = dict(segmenter.named_modules())
    cost = profile(segmenter, image_size=(65, 97))
    convolutions = [layer for layer in cost.layers if layer.madds]
    assert len(convolutions) == sum(isinstance(module, nn.Conv2d) for module in modules.values())
    for layer in convolutions:
        weight_and_bias = modules[layer.name].parameters(recurse=False)
        assert layer.params == sum(parameter.numel() for parameter in weight_and_bias)


def test_kinds_are_said_in_words():
    conv = nn.Conv2d(3, 6, 3, stride=2, groups=3, dilation=2)
    layers = profile(nn.Sequential(conv, nn.Conv2d(6, 4, 1, groups=2)), image_size=SIZE).layers
    assert [layer.kind for layer in layers] == ["depthwise 3x3 s2 d2", "conv 1x1 g2"]


def test_a_shared_module_counts_its_parameters_once_and_its_work_twice():
    conv = nn.Conv2d(3, 3, 1, bias=False)
    cost = profile(nn.Sequential(conv, conv), image_size=SIZE)
    assert (cost.params, cost.madds) == (9, 2 * 9 * PIXELS)
    assert len(cost.layers) == 1


def test_tied_weights_belong_to_the_first_layer():
    first, second = (nn.Conv2d(3, 3, 1, bias=False) for _ in range(2))
    second.weight = first.weight
    cost = profile(nn.Sequential(first, second), image_size=SIZE)
    assert (cost.params, [layer.params for layer in cost.layers]) == (9, [9, 0])


def test_the_model_is_left_as_it_was(segmenter):
    segmenter.train()
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    profile(segmenter, image_size=(65, 97), accounting="tf")
    assert all(module.training and not module._forward_hooks for module in segmenter.modules())
    for name, tensor in segmenter.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in segmenter.parameters())


def test_a_model_on_the_meta_device_or_in_half_precision_costs_the_same(segmenter):
    expected = profile(segmenter, image_size=(65, 97))
    assert profile(segmenter.bfloat16(), image_size=(65, 97)) == expected
    assert profile(segmenter.to("meta"), image_size=(65, 97)) == expected


def test_the_arg_max_of_a_torchvision_segmenter_is_charged():
    with torch.device("meta"):
        model = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=7)
    cost = profile(model, image_size=(65, 97), accounting="tf")
    assert [layer.madds for layer in cost.layers if layer.kind == "arg-max"] == [0.5 * 7 * 65 * 97]


def test_a_detector_is_counted_at_its_own_size_and_a_segmenter_at_vocs(detector, segmenter):
    assert profile(detector).image_size == (96, 64)
    assert profile(detector, image_size=(64, 64)).image_size == (64, 64)
    assert profile(segmenter).image_size == (513, 513)


def test_tf_charges_no_arg_max_of_a_detector(detector):
    kinds = {layer.kind for layer in profile(detector, accounting="tf").layers if layer.madds}
    assert "preprocessing" in kinds
    assert "arg-max" not in kinds


def test_the_layers_of_a_detector_add_up_to_its_parts_and_to_the_whole(detector):
    cost = profile(detector)
    assert {layer.name.split(".")[0] for layer in cost.layers} == {"backbone", "extras", "head"}
    assert sum(layer.params for layer in cost.layers) == cost.params
    assert sum(layer.madds for layer in cost.layers) == cost.madds
    for part in ("backbone", "extras", "head"):
        params = sum(layer.params for layer in cost.layers if layer.name.startswith(part))
        assert params == sum(parameter.numel() for parameter in detector.get_submodule(part).parameters())


@pytest.mark.parametrize("passes", [{"scales": (0.5, 1.0)}, {"flip": True}])
def test_several_passes_of_a_detector_are_refused(detector, passes):
    with pytest.raises(ConfigError, match="a detector has one pass"):
        profile(detector, **passes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accounting": "flops"}, "no accounting named 'flops'; there are .'native', 'tf'."),
        ({"scales": ()}, "one or more numbers above 0"),
        ({"scales": (1.0, 0.0)}, "one or more numbers above 0"),
        ({"image_size": (0, 9)}, "must be 1 or more"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        profile(nn.Conv2d(3, 1, 1), **wrong)
