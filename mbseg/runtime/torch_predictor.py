"""Frames through a network that is a torch module, whatever computes its forward pass."""

from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
import torch
from torch import Tensor

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import SMALLEST_SIDE
from mbseg.models.framing import fit_longer_side
from mbseg.models.joint_prediction import JointPredictor
from mbseg.models.prediction import Predictor
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array


@final
@dataclass
class TorchSegmenter(FramePredictor):
    """Frames treated as in the predictor's protocol."""

    predictor: Predictor
    device: torch.device
    description: str

    def __call__(self, image: UInt8Array) -> Answer:
        return Answer(mask=self.predictor(as_images(image, self.device))[0].cpu().numpy())

    def input_size(self, picture: Size) -> Size:
        return self.predictor.input_size(picture)


@final
@dataclass
class TorchDetector(FramePredictor):
    """Frames stretched to the network's size, or brought to `longer_side` in their own proportions."""

    predictor: BoxPredictor
    device: torch.device
    description: str
    longer_side: int | None = None

    def __call__(self, image: UInt8Array) -> Answer:
        picture = (image.shape[0], image.shape[1])
        images = as_images(stretched(image, self.input_size(picture)), self.device)
        return Answer(detections=on_cpu(self.predictor(images, [picture])[0]))

    def input_size(self, picture: Size) -> Size:
        return stretched_size(picture, self.predictor.model.image_size, self.longer_side)


@final
@dataclass
class TorchJoint(FramePredictor):
    """Both answers for frames brought to the network as a detector's are."""

    predictor: JointPredictor
    device: torch.device
    description: str
    longer_side: int | None = None

    def __call__(self, image: UInt8Array) -> Answer:
        picture = (image.shape[0], image.shape[1])
        images = as_images(stretched(image, self.input_size(picture)), self.device)
        ((mask, found),) = self.predictor(images, [picture])
        return Answer(mask.cpu().numpy(), on_cpu(found))

    def input_size(self, picture: Size) -> Size:
        return stretched_size(picture, self.predictor.model.image_size, self.longer_side)


def stretched_size(picture: Size, image_size: Size, longer_side: int | None) -> Size:
    """What a network made for `image_size` sees of a picture."""
    if longer_side is None:
        return image_size
    height, width = fit_longer_side(picture, longer_side)
    return max(SMALLEST_SIDE, height), max(SMALLEST_SIDE, width)


def stretched(image: UInt8Array, size: Size) -> UInt8Array:
    """[H, W, 3] -> [*size, 3], bilinear."""
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def on_cpu(found: Detections) -> Detections:
    return Detections(found.boxes.cpu(), found.scores.cpu(), found.labels.cpu())


def as_images(image: UInt8Array, device: torch.device) -> Tensor:
    """[H, W, 3] -> [1, 3, H, W], uint8."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None]
