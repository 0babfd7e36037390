"""MobileNetV2 beside torchvision's and timm's, the same weights in both."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from mbseg.backbones.base import Backbone
from mbseg.create import create_backbone
from mbseg.weights.imagenet import load_backbone_weights
from tests.helpers import ALL_TAPS, assert_same_features, calibrated, successive_outputs

IMAGES = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(7))
TIMM_TAPS = ("c2", "c3", "c4", "c5")  # timm's feature maps 1 to 4


def with_weights_of(
    theirs: nn.Module, folder: Path, *, width_mult: float, taps: tuple[str, ...], output_stride: int = 32
) -> Backbone:
    """Our backbone, filled from a file of their state as a user would do it."""
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    ours = create_backbone("mobilenet_v2", width_mult=width_mult, output_stride=output_stride, taps=taps)
    load_backbone_weights(ours, str(folder / "theirs.pth"), name="mobilenet_v2", width_mult=width_mult)
    return ours.eval()


def parts(backbone: Backbone) -> list[nn.Module]:
    return [backbone.stem, *backbone.blocks, backbone.last_conv]


@pytest.mark.parametrize("width_mult", [0.35, 1.0, 1.4])
def test_every_block_gives_what_torchvisions_gives(width_mult: float, tmp_path: Path) -> None:
    theirs = calibrated(mobilenet_v2(weights=None, width_mult=width_mult), IMAGES)
    ours = with_weights_of(theirs, tmp_path, width_mult=width_mult, taps=ALL_TAPS)
    expected = successive_outputs(theirs.features, IMAGES)
    outputs = successive_outputs(parts(ours), IMAGES)
    assert len(outputs) == len(expected) == 19
    for output, wanted in zip(outputs, expected, strict=True):
        assert_same_features(output, wanted)


@pytest.mark.parametrize(("timm_name", "width_mult"), [("mobilenetv2_050", 0.5), ("mobilenetv2_140", 1.4)])
def test_other_widths_give_what_timms_give(timm_name: str, width_mult: float, tmp_path: Path) -> None:
    theirs = calibrated(timm.create_model(timm_name, pretrained=False), IMAGES)
    ours = with_weights_of(theirs, tmp_path, width_mult=width_mult, taps=("c5", "last_conv"))
    with torch.no_grad():
        assert_same_features(ours(IMAGES)["last_conv"], theirs.forward_features(IMAGES))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_a_dilated_network_gives_what_timms_plan_gives(output_stride: int, tmp_path: Path) -> None:
    theirs = timm.create_model(
        "mobilenetv2_100", pretrained=False, features_only=True, output_stride=output_stride, out_indices=(1, 2, 3, 4)
    )
    calibrated(theirs, IMAGES)
    ours = with_weights_of(theirs, tmp_path, width_mult=1.0, taps=TIMM_TAPS, output_stride=output_stride)
    with torch.no_grad():
        features, expected = ours(IMAGES), theirs(IMAGES)
    for tap, wanted in zip(TIMM_TAPS, expected, strict=True):
        assert_same_features(features[tap], wanted)


def test_the_real_imagenet_features_of_a_picture_equal_torchvisions(shared_data: Path) -> None:
    weights = shared_data / "weights" / "mobilenet_v2-b0353104.pth"
    pictures = sorted((shared_data / "VOCdevkit" / "VOC2012" / "JPEGImages").glob("*.jpg"))
    if not weights.is_file() or not pictures:
        pytest.skip(f"{weights} or the pictures beside it are missing")
    theirs = mobilenet_v2(weights=None).eval()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    ours = create_backbone("mobilenet_v2", taps=ALL_TAPS).eval()
    report = load_backbone_weights(ours, str(weights), name="mobilenet_v2", width_mult=1.0)
    assert set(report.ignored) == {"classifier.1.weight", "classifier.1.bias"}
    image = normalized(pictures[0])
    with torch.no_grad():
        assert_same_features(ours(image)["last_conv"], theirs.features(image))


def normalized(picture: Path) -> Tensor:
    """[1, 3, H, W] with ImageNet's mean and deviation."""
    image = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((image - mean[:, None, None]) / std[:, None, None])[None]
