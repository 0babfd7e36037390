"""Pictures resized for a detector and nothing else: what evaluation does, and training after its augmentation."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mbseg.data.detection_samples import DetectionSample, Size
from mbseg.data.samples import UInt8Array


@dataclass(frozen=True)
class Resize:
    """Stretches every picture, and its boxes, to one `size` (height, width)."""

    size: Size

    def __call__(self, sample: DetectionSample, _numbers: tuple[int, ...] = ()) -> DetectionSample:
        height, width = sample.image.shape[:2]
        factors = (self.size[1] / width, self.size[0] / height)
        boxes = sample.boxes * np.array([*factors, *factors], np.float32)
        return replace(sample, image=resize(sample.image, self.size), boxes=boxes)


def resize(image: UInt8Array, size: Size) -> UInt8Array:
    """[H, W, 3] -> [*size, 3], bilinear."""
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def resize_mask(mask: UInt8Array, size: Size) -> UInt8Array:
    """[H, W] -> [*size]; each pixel takes the label that lies under its centre, as `resize` places it."""
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
