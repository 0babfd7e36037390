"""What the data side hands over for detection: annotated pictures, samples ready to train on, and batches of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbseg.data.samples import UInt8Array

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class Annotation:
    """The n objects of one picture, just as the data set describes them: faulty boxes included.

    Boxes are [x, y, width, height] in pixels, the picture's upper left corner being (0, 0): the numbers of COCO's
    files unchanged, so that scores come out to the last bit.
    """

    file: Path  # that describes the objects
    image: Path
    image_id: int  # the data set's own number of the picture, or its place in the list
    size: Size | None  # of the picture, as annotated; None: not said
    boxes: Doubles  # [n, 4]
    labels: Integers  # [n] 0..num_classes - 1; the background is no class
    areas: Doubles  # [n] pixels of the object, which may be fewer than those of its box (COCO)
    difficult: Flags  # [n] VOC: neither a find nor a miss
    crowd: Flags  # [n] COCO: a region of many objects, neither a find nor a miss

    @property
    @np.errstate(invalid="ignore", over="ignore")  # faulty boxes hold anything
    def xyxy(self) -> Doubles:
        """The boxes' corners [n, 4]."""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], axis=1)


class AnnotatedSplit(NamedTuple):
    """The pictures of a split for detection, with or without objects."""

    classes: tuple[str, ...]
    category_ids: tuple[int | None, ...]  # of each class in COCO's files; None for a class that the file does not know
    annotations: list[Annotation]


@dataclass(frozen=True)
class DetectionSample:
    """A picture and the n objects in it that are learned, both perhaps augmented.

    These are the difficult ones too, but no crowds, whose boxes hold many, and no faulty ones.
    """

    image: UInt8Array  # [H, W, 3] RGB
    boxes: Floats  # [n, 4] xyxy, pixels of `image`, none of them empty or outside
    labels: Integers  # [n]
    size: Size  # of the picture in its file
    annotation: Annotation  # what the file describes, in pixels of the picture in its file


class DetectionBatch(NamedTuple):
    """N pictures of one size as tensors; preprocessing is the task's."""

    images: Tensor  # [N, 3, H, W] uint8 RGB
    boxes: list[Tensor]  # of each picture: [n, 4] float32 xyxy, pixels of `images`
    labels: list[Tensor]  # [n] int64
    sizes: list[Size]  # of the pictures in their files
    annotations: list[Annotation]
