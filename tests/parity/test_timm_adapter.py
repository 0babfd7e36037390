"""`timm:<name>` beside timm's own feature networks, and what it refuses."""

import warnings
from typing import Any

import pytest
import timm
import torch
from torch import nn

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.timm_adapter import TimmBackbone, timm_backbone, timm_taps
from mbseg.errors import ConfigError
from tests.helpers import assert_same_features, calibrated

IMAGES = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(7))
TAPS = ("c1", "c2", "c3", "c4", "c5")
MODELS = ("mobilenetv4_conv_small", "tf_efficientnet_lite0", "resnext50_32x4d", "xception41", "mnasnet_100")


def switch_on(theirs: nn.Module) -> None:
    """timm starts residual branches with a zero in their last batch norm; then nothing of them could be compared."""
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)


def with_weights_of(theirs: nn.Module, name: str, output_stride: int) -> TimmBackbone:
    """Both are timm's layers in timm's order, but timm's own wrappers rename some."""
    ours = timm_backbone(name, output_stride=output_stride, taps=TAPS)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    return ours.eval()


@pytest.mark.parametrize("output_stride", [16, 32])
@pytest.mark.parametrize("name", MODELS)
def test_the_maps_are_those_of_timms_own_feature_network(name: str, output_stride: int) -> None:
    theirs = timm.create_model(name, pretrained=False, features_only=True, output_stride=output_stride)
    switch_on(theirs)
    calibrated(theirs, IMAGES)
    ours = with_weights_of(theirs, name, output_stride)
    with torch.no_grad():
        features, expected = ours(IMAGES), theirs(IMAGES)
    assert list(ours.feature_info.values()) == list(
        map(FeatureInfo, theirs.feature_info.channels(), theirs.feature_info.reduction())
    )
    for tap, wanted in zip(TAPS, expected, strict=True):
        assert_same_features(features[tap], wanted)


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small", "mnasnet_100"])
def test_a_dilated_network_gives_the_same_maps_under_the_same_names(name: str) -> None:
    coarse = calibrated(timm_backbone(name, output_stride=32, taps=TAPS), IMAGES)
    fine = timm_backbone(name, output_stride=8, taps=TAPS).eval()
    fine.load_state_dict(coarse.state_dict())
    with torch.no_grad():
        dense, expected = fine(IMAGES), coarse(IMAGES)
    for tap, wanted in expected.items():
        step = coarse.feature_info[tap].stride // fine.feature_info[tap].stride
        assert_same_features(dense[tap][..., ::step, ::step], wanted)


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small", "tf_efficientnet_lite0", "resnet18", "xception41"])
def test_whatever_is_built_serves_the_deepest_tap(name: str) -> None:
    backbone = timm_backbone(name, output_stride=16, taps=("c3", "c2"))
    features = backbone(IMAGES)
    assert list(features) == list(backbone.feature_info) == ["c2", "c3"]
    features["c3"].sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["mambaout_femto", "vgg11", "hardcorenas_a", "cspnext_l"])
def test_every_map_has_the_channels_and_the_stride_that_it_promises(name: str) -> None:
    with torch.device("meta"):
        backbone = timm_backbone(name, output_stride=32, taps=list(timm_taps(name)))
        features = backbone(torch.empty(2, 3, 64, 96))
    assert list(features) == list(timm_taps(name))
    for tap, (channels, stride) in backbone.feature_info.items():
        assert features[tap].shape == (2, channels, 64 // stride, 96 // stride)


def test_taps_are_named_by_stride() -> None:
    assert timm_taps("convnext_atto") == {
        "c2": FeatureInfo(40, 4),
        "c3": FeatureInfo(80, 8),
        "c4": FeatureInfo(160, 16),
        "c5": FeatureInfo(320, 32),
    }
    assert list(timm_taps("vgg11")) == list(TAPS)  # its map of stride 1 has no name
    assert timm_taps("xcit_nano_12_p8_224") == {"c3": FeatureInfo(128, 8)}  # the last of three maps


def test_a_name_may_carry_the_tag_of_its_weights() -> None:
    assert timm_taps("mobilenetv4_conv_small.e2400_r224_in1k") == timm_taps("mobilenetv4_conv_small")


@pytest.mark.parametrize(
    ("name", "output_stride", "taps", "message"),
    [
        ("mobilenetv4_conv_smal", 16, TAPS, r"timm has no model 'mobilenetv4_conv_smal'; the nearest are mobilenetv4_"),
        ("mobilenetv4_conv_small.in1k", 16, TAPS, "timm has no model 'mobilenetv4_conv_small.in1k'; the nearest are"),
        ("hf-hub:timm/resnet18", 16, TAPS, "timm has no model 'hf-hub:timm/resnet18'"),
        ("", 16, TAPS, r"timm has no model ''; timm.list_models\(\) lists them"),
        ("vit_tiny_patch16_224", 32, TAPS, r"vit_tiny_patch16_224 gives no feature maps of a picture of 97 x 131"),
        ("hrnet_w18_small", 32, TAPS, "choose a model that takes pictures of any size"),  # multiples of 32 only
        ("convmixer_768_32", 32, TAPS, r"timm:convmixer_768_32 has feature maps of stride \[7\]"),
        ("ghostnet_100", 16, TAPS, "timm cannot dilate ghostnet_100 to output stride 16; use output stride 32"),
        ("mnasnet_100", 4, TAPS, "output stride 4 is not possible"),
        (
            "mnasnet_100",
            16,
            ["c6"],
            r"no feature map named \['c6'\]; this backbone has \['c1', 'c2', 'c3', 'c4', 'c5'\]",
        ),
        ("mnasnet_100", 16, [], "no feature map asked for"),
    ],
)
def test_what_a_model_cannot_do_is_refused_in_one_line(
    name: str, output_stride: int, taps: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        timm_backbone(name, output_stride=output_stride, taps=taps)
    assert "\n" not in str(refusal.value)


def test_a_model_that_timm_cannot_cut_into_features_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> nn.Module:
        raise RuntimeError("features_only is not implemented for this model")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ConfigError, match=r"timm:resnet34 gives no feature maps .*not implemented for this model"):
        timm_taps("resnet34")


def test_warnings_of_timm_do_not_reach_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def warn_and_create(*args: Any, **options: Any) -> nn.Module:
        warnings.warn("here a name is deprecated", stacklevel=1)
        return create(*args, **options)

    monkeypatch.setattr(timm, "create_model", warn_and_create)
    assert set(timm_backbone("resnet18", output_stride=16, taps=["c2"]).feature_info) == {"c2"}
