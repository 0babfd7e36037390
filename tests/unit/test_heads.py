"""The heads: DeepLabV3 in its three forms with torchvision's ASPP beside it, DeepLabV3+ and LR-ASPP."""

import pytest
import torch
from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from mbseg.backbones.base import FeatureInfo
from mbseg.heads.aspp import Aspp
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.heads.deeplabv3plus import DeepLabV3Plus
from mbseg.heads.lraspp import LRASPP
from tests.helpers import assert_same_features, calibrated

CHANNELS = 40
RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}


def head(*, aspp: Aspp, stride: int = 16) -> DeepLabV3:
    return DeepLabV3(FeatureInfo(CHANNELS, stride), at="c5", num_classes=21, aspp=aspp)


@pytest.mark.parametrize(("stride", "rates"), RATES.items())
@pytest.mark.parametrize("aspp", ["dense", "separable"])
def test_rates_keep_their_reach_in_pixels_of_the_picture(aspp: Aspp, stride: int, rates: tuple[int, ...]) -> None:
    convolutions = [part for part in head(aspp=aspp, stride=stride).modules() if isinstance(part, nn.Conv2d)]
    wide = [part for part in convolutions if part.kernel_size == (3, 3)]
    assert [part.dilation for part in wide] == [(rate, rate) for rate in rates]


@pytest.mark.parametrize(
    ("aspp", "branch"),
    [("none", None), ("dense", 9 * CHANNELS * 256 + 512), ("separable", 11 * CHANNELS + CHANNELS * 256 + 512)],
)
def test_every_form_keeps_the_pointwise_branch_and_the_image_pooling(aspp: Aspp, branch: int | None) -> None:
    pointwise = image_pooling = CHANNELS * 256 + 512
    branches = 2 if branch is None else 5
    projection, classifier = branches * 256 * 256 + 512, 256 * 21 + 21
    expected = pointwise + image_pooling + 3 * (branch or 0) + projection + classifier
    assert sum(parameter.numel() for parameter in head(aspp=aspp).parameters()) == expected


def test_logits_keep_the_size_of_the_map_even_of_a_single_cell() -> None:
    dense = head(aspp="dense").eval()
    assert dense({"c5": torch.randn(1, CHANNELS, 5, 7)}).shape == (1, 21, 5, 7)
    assert dense({"c5": torch.randn(1, CHANNELS, 1, 1)}).shape == (1, 21, 1, 1)


@pytest.mark.parametrize(("stride", "rates"), RATES.items())
def test_dense_aspp_gives_what_torchvisions_gives(stride: int, rates: tuple[int, ...]) -> None:
    x = torch.randn(2, CHANNELS, 25, 39)
    theirs = calibrated(ASPP(CHANNELS, rates), x)
    ours = head(aspp="dense", stride=stride).eval()
    ours.classifier = nn.Identity()
    ours.load_state_dict({in_our_words(key): tensor for key, tensor in theirs.state_dict().items()})
    with torch.no_grad():
        assert_same_features(ours({"c5": x}), theirs(x))


def in_our_words(key: str) -> str:
    """`convs.4` is torchvision's image pooling, whose first part is the pooling itself."""
    module, _, parameter = key.rpartition(".")
    names = {
        f"convs.{branch}.{part}": f"pyramid.branches.{branch}.{layer}" for branch in range(4) for part, layer in LAYERS
    }
    names |= {"convs.4.1": "pyramid.image_pooling.conv.conv", "convs.4.2": "pyramid.image_pooling.conv.norm"}
    names |= {f"project.{part}": f"pyramid.project.{layer}" for part, layer in LAYERS}
    return f"{names[module]}.{parameter}"


LAYERS = ((0, "conv"), (1, "norm"))


def fine_head(kind: type[DeepLabV3Plus] | type[LRASPP], **settings: object) -> DeepLabV3Plus | LRASPP:
    deep, low = FeatureInfo(CHANNELS, 16), FeatureInfo(24, 4)
    return kind(deep, low, at="c5", low_at="c2", num_classes=21, **settings)


def features(height: int = 5, width: int = 7) -> dict[str, torch.Tensor]:
    fine = torch.randn(2, 24, 4 * height - 3, 4 * width - 3)
    return {"c5": torch.randn(2, CHANNELS, height, width), "c2": fine}


@pytest.mark.parametrize("kind", [DeepLabV3Plus, LRASPP])
def test_two_tap_heads_answer_at_the_stride_of_the_finer_one(kind: type[DeepLabV3Plus] | type[LRASPP]) -> None:
    assert fine_head(kind)(features()).shape == (2, 21, 17, 25)


@pytest.mark.parametrize("kind", [DeepLabV3Plus, LRASPP])
def test_two_tap_heads_read_both(kind: type[DeepLabV3Plus] | type[LRASPP]) -> None:
    built, maps = fine_head(kind).eval(), features()
    logits = built(maps)
    for name in maps:
        assert not torch.allclose(built({**maps, name: torch.zeros_like(maps[name])}), logits)


def test_deeplabv3plus_is_the_papers_decoder_behind_the_pyramid() -> None:
    """arXiv:1802.02611, section 4: low-level features reduced to 48, two 3x3 convolutions of 256, here separable."""
    low, first, second = 24 * 48 + 2 * 48, separable_params(256 + 48, 256), separable_params(256, 256)
    built = fine_head(DeepLabV3Plus)
    outside_the_pyramid = count(built) - count(built.pyramid)
    assert outside_the_pyramid == low + first + second + 256 * 21 + 21
    assert [type(branch) for branch in built.pyramid.branches[1:]] == [nn.Sequential] * 3  # separable unless told


def separable_params(in_channels: int, out_channels: int) -> int:
    return 9 * in_channels + 2 * in_channels + in_channels * out_channels + 2 * out_channels


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_rates_that_are_given_are_kept() -> None:
    built = DeepLabV3(FeatureInfo(CHANNELS, 16), at="c5", num_classes=2, aspp="dense", rates=(12, 24, 36))
    wide = [part for part in built.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert [part.dilation[0] for part in wide] == [12, 24, 36]
