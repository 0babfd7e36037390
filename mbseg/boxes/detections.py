"""What a detector is told, what it gives, and what becomes of it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

Scores = Literal["softmax", "sigmoid"]  # how class logits become probabilities


class Objects(NamedTuple):
    """The labelled objects of one picture; there may be none."""

    boxes: Tensor  # [n, 4] xyxy, pixels of the network's input
    labels: Tensor  # [n] int64, 0 .. num_classes - 1


class RawDetections(NamedTuple):
    """What a network says about every default box."""

    class_logits: Tensor  # [N, boxes, num_classes + 1], the background first; softmax or sigmoid, said by the model
    box_offsets: Tensor  # [N, boxes, 4], as `coding.encode` makes them


@dataclass(frozen=True)
class Detections:
    """The objects found in one picture, the most probable first."""

    boxes: Tensor  # [n, 4] xyxy, pixels of the original picture
    scores: Tensor  # [n] probabilities
    labels: Tensor  # [n] int64, 0 .. num_classes - 1
