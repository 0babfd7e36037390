"""MobileNetV1, V2 and V3 beside timm's and torchvision's, imported as a user would import them."""

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from mbseg.backbones.base import Backbone
from mbseg.build_common import variant
from mbseg.config.schema import BackboneConfig
from mbseg.create import create_backbone
from mbseg.errors import WeightsError
from mbseg.importing import import_weights
from tests.helpers import assert_same_features, calibrated, successive_outputs

IMAGES = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(7))  # an odd side and an even one
TIMM = {  # timm's name -> ours, and the width
    "mobilenetv1_100": ("mobilenet_v1", 1.0),
    "mobilenetv1_100h": ("mobilenet_v1", 1.0),
    "mobilenetv1_125": ("mobilenet_v1", 1.25),
    "mobilenetv2_035": ("mobilenet_v2", 0.35),
    "mobilenetv2_075": ("mobilenet_v2", 0.75),
    "mobilenetv2_140": ("mobilenet_v2", 1.4),
    "mobilenetv3_large_075": ("mobilenet_v3_large", 0.75),
    "mobilenetv3_large_100": ("mobilenet_v3_large", 1.0),
    "mobilenetv3_small_050": ("mobilenet_v3_small", 0.5),
    "mobilenetv3_small_075": ("mobilenet_v3_small", 0.75),
    "mobilenetv3_small_100": ("mobilenet_v3_small", 1.0),
    "tf_mobilenetv3_large_100": ("mobilenet_v3_large", 1.0),
    "tf_mobilenetv3_large_minimal_100": ("mobilenet_v3_large_minimal", 1.0),
    "tf_mobilenetv3_small_075": ("mobilenet_v3_small", 0.75),
    "tf_mobilenetv3_small_minimal_100": ("mobilenet_v3_small_minimal", 1.0),
}


def imported(theirs: nn.Module, source: str, folder: Path, taps: tuple[str, ...]) -> tuple[Backbone, BackboneConfig]:
    """import-weights, then model.backbone.weights; every key of theirs is accounted for on the way."""
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    result = import_weights(source, folder / "ours.safetensors", weights=folder / "theirs.pth")
    assert len(result["loaded"]) + len(result["ignored"]) == len(theirs.state_dict())
    config = BackboneConfig.model_validate(result["model"]["backbone"])
    weights = str(folder / "ours.safetensors")
    ours = create_backbone(
        config.name, width_mult=config.width_mult, taps=taps, weights=weights, variant=variant(config)
    )
    return ours.eval(), config


@pytest.mark.parametrize(("name", "expected"), TIMM.items())
@torch.no_grad()
def test_every_mobilenet_of_timm_is_told_by_its_shapes_and_gives_the_same_features(
    name: str, expected: tuple[str, float], tmp_path: Path
) -> None:
    theirs = calibrated(timm.create_model(name, pretrained=False), IMAGES)
    deepest = "last_conv" if "v3" in name else "c5"
    taps = ("c2", "c3", "c4", deepest)
    ours, config = imported(theirs, f"timm:{name}", tmp_path, taps)
    assert (config.name, config.width_mult) == expected
    features, (_, *wanted) = ours(IMAGES), theirs.forward_intermediates(IMAGES, intermediates_only=True)
    for tap, map_ in zip(taps, wanted, strict=True):
        assert_same_features(features[tap], map_, tolerance=1e-4)  # another epsilon is rounded into the variance


@pytest.mark.parametrize("name", ["mobilenetv2_110d", "mobilenetv3_large_150d"])
def test_deeper_networks_of_timm_are_refused(name: str, tmp_path: Path) -> None:
    torch.save(timm.create_model(name, pretrained=False).state_dict(), tmp_path / "theirs.pth")
    with pytest.raises(WeightsError, match="has the keys of timm, but not the layers of any of mobilenet_v1"):
        import_weights(f"timm:{name}", tmp_path / "ours.safetensors", weights=tmp_path / "theirs.pth")
    assert not (tmp_path / "ours.safetensors").exists()


@pytest.mark.parametrize("size", [(224, 224), (321, 321), (513, 513)], ids=str)
@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])
@torch.no_grad()
def test_every_block_of_v3_gives_what_torchvisions_gives(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    images = picture(size)
    theirs = calibrated(getattr(models, name)(weights=None), images)
    ours, config = imported(theirs, f"torchvision:{name}", tmp_path, ("c5", "last_conv"))
    assert (config.name, config.width_mult) == (name, 1.0)
    expected = successive_outputs(theirs.features, images)
    outputs = successive_outputs([ours.stem, *ours.blocks, ours.last_conv], images)
    for output, wanted in zip(outputs, expected, strict=True):
        assert_same_features(output, wanted, tolerance=1e-4)


def picture(size: tuple[int, int]) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("size", [(224, 224), (321, 321), (513, 513)], ids=str)
@pytest.mark.parametrize("name", ["mobilenetv1_100", "mobilenetv3_large_100", "mobilenetv3_small_100"])
@torch.no_grad()
def test_full_sized_pictures_give_timms_features_too(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    images = picture(size)
    theirs = calibrated(timm.create_model(name, pretrained=False), images)
    deepest = "last_conv" if "v3" in name else "c5"
    ours, _ = imported(theirs, f"timm:{name}", tmp_path, (deepest,))
    assert_same_features(ours(images)[deepest], theirs.forward_features(images), tolerance=1e-4)
