"""The beta ResNet-101 beside timm's resnet101s, which has the same stem and units but the strides in other places."""

import pytest
import timm
import torch
from torch import nn

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.resnet_beta import TAPS, ResNetBeta, resnet101_beta
from mbseg.errors import ConfigError
from tests.helpers import assert_same_features, calibrated, successive_outputs

IMAGES = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(7))
UNITS = (3, 4, 23, 3)

# Of each stage the stride of the last unit and the rates of all; by hand from TensorFlow DeepLab's resnet_v1_beta.py,
# `stack_blocks_dense` and multi_grid=[1, 2, 4].
STAGES = {
    32: [(2, [1] * 3), (2, [1] * 4), (2, [1] * 23), (1, [1, 2, 4])],
    16: [(2, [1] * 3), (2, [1] * 4), (1, [1] * 23), (1, [2, 4, 8])],
    8: [(2, [1] * 3), (1, [1] * 4), (1, [2] * 23), (1, [4, 8, 16])],
}


def original_resnet() -> nn.Module:
    """Without timm's zeros in the last batch norm of a unit, which would switch off what is to be compared."""
    return timm.create_model("resnet101s", pretrained=False, num_classes=0, zero_init_last=False)


def timm_resnet(output_stride: int) -> nn.Module:
    """timm's network with its strides moved to where TensorFlow DeepLab has them."""
    network = original_resnet()
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    for stage, (stride, rates) in zip(stages, STAGES[output_stride], strict=True):
        for unit, rate in zip(stage, rates, strict=True):
            unit.conv2.stride, unit.conv2.dilation, unit.conv2.padding = (1, 1), (rate, rate), (rate, rate)
        stage[0].downsample[0].stride = (1, 1)
        if stride > 1:
            stage[-1].conv2.stride = (stride, stride)
            stage[-1].downsample = nn.MaxPool2d(1, stride)
    return network


def with_weights_of(theirs: nn.Module, output_stride: int) -> ResNetBeta:
    """The layers of both stand in the same order."""
    ours = resnet101_beta(output_stride=output_stride)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    return ours.eval()


def their_parts(theirs: nn.Module) -> list[nn.Module]:
    stem = nn.Sequential(theirs.conv1, theirs.bn1, theirs.act1, theirs.maxpool)
    return [stem, *theirs.layer1, *theirs.layer2, *theirs.layer3, *theirs.layer4]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_every_unit_gives_what_timms_gives(output_stride: int) -> None:
    theirs = calibrated(timm_resnet(output_stride), IMAGES)
    ours = with_weights_of(theirs, output_stride)
    outputs = successive_outputs([nn.Sequential(ours.stem, ours.pool), *ours.units], IMAGES)
    expected = successive_outputs(their_parts(theirs), IMAGES)
    assert len(outputs) == len(expected) == 1 + sum(UNITS)
    for output, wanted in zip(outputs, expected, strict=True):
        assert_same_features(output, wanted)


def test_up_to_the_first_stride_it_is_timms_network_as_it_stands() -> None:
    theirs = calibrated(original_resnet(), IMAGES)
    ours = with_weights_of(theirs, output_stride=32)
    with torch.no_grad():
        assert_same_features(ours(IMAGES)["c2"], successive_outputs(their_parts(theirs)[:3], IMAGES)[-1])


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_network_only_computes_more_positions(output_stride: int) -> None:
    """Multi-grid does not disturb it: the rates of the undilated network grow with all others."""
    images = IMAGES.double()  # a hundred layers add up their rounding
    coarse = calibrated(resnet101_beta().double(), images)
    fine = resnet101_beta(output_stride=output_stride).double().eval()
    fine.load_state_dict(coarse.state_dict())
    with torch.no_grad():
        dense, expected = fine(images), coarse(images)
    for name, wanted in expected.items():
        step = coarse.feature_info[name].stride // fine.feature_info[name].stride
        assert_same_features(dense[name][..., ::step, ::step], wanted)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_every_map_has_the_channels_and_the_stride_that_it_promises(output_stride: int) -> None:
    with torch.device("meta"):
        backbone = resnet101_beta(output_stride=output_stride)
        features = backbone(torch.empty(1, 3, 65, 98))
    assert list(features) == list(TAPS)
    for name, feature in features.items():
        channels, stride = backbone.feature_info[name]
        assert backbone.feature_info[name] == FeatureInfo(TAPS[name].channels, min(TAPS[name].stride, output_stride))
        assert feature.shape == (1, channels, -(-65 // stride), -(-98 // stride))


def test_nothing_is_built_behind_the_deepest_tap() -> None:
    with torch.device("meta"):
        lengths = {tap: len(resnet101_beta(taps=(tap,)).units) for tap in TAPS}
    assert lengths == {"c2": 2, "c3": 6, "c4": 29, "c5": 33}  # the last unit of a stage has the next stage's stride


@pytest.mark.parametrize(
    ("output_stride", "taps", "message"),
    [
        (4, ["c5"], "output stride 4 is not possible"),
        (16, ["c1"], r"no feature map named \['c1'\]; this backbone has \['c2', 'c3', 'c4', 'c5'\]"),
        (16, [], "no feature map asked for"),
    ],
)
def test_what_it_cannot_do_is_refused(output_stride: int, taps: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resnet101_beta(output_stride=output_stride, taps=taps)
