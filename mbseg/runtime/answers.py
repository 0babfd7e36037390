"""What a finished model says of a picture, and what gives such answers, whatever runs the network."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What is found in one picture; None is what the model does not look for."""

    mask: UInt8Array | None = None  # [H, W], the class of every pixel
    detections: Detections | None = None  # on the CPU, boxes in the picture's pixels


class FramePredictor(ABC):
    """A finished model at work on single pictures of any size: preprocessing, network, and what comes behind it."""

    description: str  # of what runs it, such as "openvino bf16, 2 threads"

    @abstractmethod
    def __call__(self, image: UInt8Array) -> Answer:
        """What is in a picture [H, W, 3] uint8 RGB."""

    @abstractmethod
    def input_size(self, picture: Size) -> Size:
        """(height, width) at which the network sees a picture of that size."""
