"""The native accounting against torch's own counter."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v3_small, resnet18
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large

from mbseg.analysis.profile import profile
from mbseg.create import create_backbone
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel

IMAGE_SIZE = (129, 97)


def dense_deeplab() -> nn.Module:
    backbone = create_backbone("mobilenet_v2", width_mult=0.5, output_stride=8, taps=("c5",))
    return SegmentationModel(backbone, DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=5, aspp="dense"))


def torchvision_deeplab() -> nn.Module:
    return deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)


def torchvision_lraspp() -> nn.Module:
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ConvTranspose2d(8, 4, 3, stride=2, bias=False))


MODELS = [dense_deeplab, torchvision_deeplab, torchvision_lraspp, mobilenet_v3_small, resnet18, transposed]


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_native_madds_are_half_the_flops_that_torch_counts(build):
    with torch.device("meta"):
        model = build().eval()
        images = torch.empty(1, 3, *IMAGE_SIZE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert 2 * profile(model, image_size=IMAGE_SIZE).madds == counter.get_total_flops()
