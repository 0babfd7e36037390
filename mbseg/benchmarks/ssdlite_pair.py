"""mbseg's SSDLite V3-Large and torchvision's with the same weights, and pictures for them.

torchvision's published weights would have to be downloaded. Random ones make the same work, once batch norm is
calibrated and the class scores are spread out. But they magnify every rounding: bf16 changes their logits about as much
as noise of a quarter of a grey level in the picture does.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD

from mbseg.data.detection_resize import resize
from mbseg.data.samples import UInt8Array
from mbseg.data.shape_classes import SHAPES
from mbseg.data.shape_drawing import draw_scene
from mbseg.detectors import create_detector
from mbseg.models.detection import DetectionModel
from mbseg.nn.conv import NORM_EPSILON
from mbseg.nn.norm import Normalize
from mbseg.weights.foreign import HALF
from mbseg.weights.from_torchvision import EPSILON_V3

CLASSES = 90  # COCO's ids with their gaps; torchvision counts the background too
INPUT_SIZE = (320, 320)
PICTURE_SIZE = (480, 640)
SPREAD = 6.0  # by which the class scores of random weights are multiplied


class Pair(NamedTuple):
    """Two networks in eval mode that are to give the same."""

    ours: DetectionModel
    theirs: SSD


def drawn_pictures() -> list[UInt8Array]:
    """Six scenes, [480, 640, 3] each."""
    rng = np.random.default_rng(0)
    return [draw_scene(rng, PICTURE_SIZE, shape).image for shape in SHAPES]


def random_pair(pictures: Sequence[UInt8Array]) -> Pair:
    """Random weights, and batch norm with the statistics of `pictures`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    calibrate(theirs, torch.cat([network_input(picture) for picture in pictures]))
    ours = create_detector("mobilenet_v3_large", reduced_tail=True, num_classes=CLASSES, box_plan="torchvision")
    ours.load_state_dict(carried_over(theirs.state_dict(), ours.state_dict()))
    return Pair(ours.eval(), theirs.eval())


@torch.no_grad()
def calibrate(theirs: SSD, images: Tensor) -> None:
    """Batch norm takes the statistics of `images`, and the class scores are spread out."""
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    their_raw(theirs.train(), images)
    for predictor in theirs.head.classification_head.module_list:
        predictor[1].weight *= SPREAD


def carried_over(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both register their layers from the picture to the boxes, so the names follow from the order."""
    epsilon = EPSILON_V3 - NORM_EPSILON  # of batch norm: theirs beyond ours
    pairs = zip(ours, theirs.values(), strict=True)
    return {name: tensor + epsilon if name.endswith("running_var") else tensor for name, tensor in pairs}


def network_input(picture: UInt8Array) -> Tensor:
    """[H, W, 3] -> normalised [1, 3, 320, 320]."""
    images: Tensor = Normalize(HALF, HALF)(stored(resize(picture, INPUT_SIZE)))
    return images.contiguous()


def stored(picture: UInt8Array) -> Tensor:
    """[H, W, 3] -> uint8 [1, 3, H, W] over the same memory, so channels_last."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def their_raw(theirs: SSD, images: Tensor) -> dict[str, Tensor]:
    raw: dict[str, Tensor] = theirs.head(list(theirs.backbone(images).values()))
    return raw
