"""The native accounting against torch's own counter."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v3_small, resnet18
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large

from mbseg.analysis.profile import profile
from mbseg.create import create_backbone
from mbseg.detectors import create_detector
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel

IMAGE_SIZE = (129, 97)


def dense_deeplab() -> nn.Module:
    backbone = create_backbone("mobilenet_v2", width_mult=0.5, output_stride=8, taps=("c5",))
    return SegmentationModel(backbone, DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=5, aspp="dense"))


def detector() -> nn.Module:
    return create_detector("mobilenet_v3_large", width_mult=0.5, num_classes=5)


def detector_of_torchvision_boxes() -> nn.Module:
    return create_detector("mobilenet_v2", reduced_tail=True, num_classes=5, box_plan="torchvision")


def torchvision_deeplab() -> nn.Module:
    return deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)


def torchvision_lraspp() -> nn.Module:
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)


def torchvision_ssdlite() -> nn.Module:
    """Its backbone and head, without what resizes the picture."""
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    return RawHeads(model.backbone, model.head)


class RawHeads(nn.Module):
    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.head(list(self.backbone(images).values()))


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ConvTranspose2d(8, 4, 3, stride=2, bias=False))


OURS = [dense_deeplab, detector, detector_of_torchvision_boxes]
THEIRS = [torchvision_deeplab, torchvision_lraspp, torchvision_ssdlite, mobilenet_v3_small, resnet18]


@pytest.mark.parametrize("build", [*OURS, *THEIRS, transposed], ids=lambda build: build.__name__)
def test_native_madds_are_half_the_flops_that_torch_counts(build):
    with torch.device("meta"):
        model = build().eval()
        images = torch.empty(1, 3, *IMAGE_SIZE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert 2 * profile(model, image_size=IMAGE_SIZE).madds == counter.get_total_flops()
