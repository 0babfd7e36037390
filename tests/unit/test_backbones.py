"""What a backbone builds, what it says of itself, and what it refuses."""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import mobilenet_v2

from mbseg.backbones.base import Backbone
from mbseg.backbones.variant import Variant
from mbseg.create import create_backbone
from mbseg.errors import ConfigError
from tests.helpers import ALL_TAPS

WIDTHS = [percent / 100 for percent in range(35, 141, 5)]


def on_meta(*, taps: tuple[str, ...], width_mult: float = 1.0, output_stride: int = 32) -> Backbone:
    """A backbone without memory: shapes alone."""
    with torch.device("meta"):
        return create_backbone("mobilenet_v2", width_mult=width_mult, output_stride=output_stride, taps=taps).eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@settings(max_examples=30, phases=[Phase.generate])  # shrinking would build hundreds of networks
@given(
    height=st.integers(1, 600),
    width=st.integers(1, 600),
    width_mult=st.sampled_from(WIDTHS),
    output_stride=st.sampled_from([8, 16, 32]),
    taps=st.sets(st.sampled_from(ALL_TAPS), min_size=1),
)
def test_feature_info_tells_what_forward_returns(
    height: int, width: int, width_mult: float, output_stride: int, taps: set[str]
) -> None:
    backbone = on_meta(taps=tuple(taps), width_mult=width_mult, output_stride=output_stride)
    features = backbone(torch.empty(1, 3, height, width, device="meta"))
    assert features.keys() == backbone.feature_info.keys() == taps
    for name, (channels, stride) in backbone.feature_info.items():
        assert features[name].shape == (1, channels, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize(("output_stride", "strides"), [(32, [4, 8, 16, 32]), (16, [4, 8, 16, 16]), (8, [4, 8, 8, 8])])
def test_no_map_is_coarser_than_the_output_stride(output_stride: int, strides: list[int]) -> None:
    info = on_meta(taps=("c2", "c3", "c4", "c5"), output_stride=output_stride).feature_info
    assert [stride for _, stride in info.values()] == strides


@pytest.mark.parametrize("width_mult", WIDTHS)
def test_channels_round_as_torchvisions_do(width_mult: float) -> None:
    with torch.device("meta"):
        theirs = mobilenet_v2(weights=None, width_mult=width_mult).features
    ours = on_meta(taps=("last_conv",), width_mult=width_mult)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def test_without_the_last_convolution_its_parameters_are_not_built() -> None:
    last_conv = 320 * 1280 + 2 * 1280
    assert count(on_meta(taps=("last_conv",))) - count(on_meta(taps=("c5",))) == last_conv


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("tap", "blocks"), [("c2", 3), ("c3", 6), ("c4", 13), ("c5", 17)])
def test_nothing_is_built_behind_the_deepest_tap(tap: str, blocks: int, output_stride: int) -> None:
    backbone = on_meta(taps=("c2", tap), output_stride=output_stride)
    names = {".".join(key.split(".")[:2]) for key in backbone.state_dict()}
    assert names == {"stem.conv", "stem.norm"} | {f"blocks.{index}" for index in range(blocks)}


def test_a_deepest_expansion_builds_only_the_expansion_of_its_block() -> None:
    backbone = on_meta(taps=("c4_expansion", "c4"))
    last = {key for key in backbone.state_dict() if key.startswith("blocks.13.")}
    assert {key.split(".")[2] for key in last} == {"expand"}
    assert count(backbone) - count(on_meta(taps=("c4",))) == 96 * 576 + 2 * 576


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_stride": 4}, "output stride 4 is not possible; 8, 16 and 32 are"),
        (
            {"taps": ["c6", "c5"]},
            r"no feature map named \['c6'\]; this backbone has \['c1', 'c1_entry',",
        ),
        ({"taps": []}, "no feature map asked for; name one or more of"),
        ({"name": "mobilenet_v9"}, "no backbone named 'mobilenet_v9'; did you mean mobilenet_v"),
        ({"name": "vgg"}, "no backbone named 'vgg'; there are mobilenet_v1, .* resnet101_beta, timm:<name>"),
        ({"name": "mobilenet_v1", "taps": ["c3_expansion"]}, "no feature map named"),
        ({"name": "mobilenet_v1", "taps": ["last_conv"]}, "no feature map named"),
        ({"name": "mobilenet_v1", "reduced_tail": "detection"}, "mobilenet_v1 has no reduced tail"),
        ({"name": "fd_mobilenet", "variant": Variant(shortcut="none")}, "needs a network with bottlenecks"),
        ({"name": "resnet101_beta", "width_mult": 0.5}, "resnet101_beta has no widths"),
        ({"name": "resnet101_beta", "reduced_tail": "segmentation"}, "resnet101_beta has no reduced tail"),
        ({"name": "resnet101_beta", "variant": Variant(padding="tensorflow")}, "comes only as published"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_can(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_backbone(**{"name": "mobilenet_v2", **arguments})
