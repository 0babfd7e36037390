"""What the data side hands over for two answers: pictures with masks and boxes, and batches of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mbseg.data.detection_samples import AnnotatedSplit, Annotation, DetectionBatch, DetectionSample, Size
from mbseg.data.samples import Batch, UInt8Array


class JointSplit(NamedTuple):
    """The pictures of a split with their objects and, as far as they have one, their mask."""

    objects: AnnotatedSplit
    masks: list[Path | None]  # one a picture; None: nothing is known of its pixels


@dataclass(frozen=True)
class JointSample:
    """A picture, the objects in it that are learned, and its mask."""

    seen: DetectionSample
    mask: UInt8Array  # [H, W] class ids, 255 ignored; in training of the picture's size, in evaluation of its file's

    @property
    def image(self) -> UInt8Array:
        return self.seen.image


class JointBatch(NamedTuple):
    """N pictures of one size as tensors, with masks of one size; preprocessing is the task's."""

    images: Tensor  # [N, 3, H, W] uint8 RGB
    masks: Tensor  # [N, h, w] uint8, 255 ignored
    boxes: list[Tensor]  # of each picture: [n, 4] float32 xyxy, pixels of `images`
    labels: list[Tensor]  # [n] int64
    sizes: list[Size]  # of the pictures in their files
    annotations: list[Annotation]

    @property
    def labelled(self) -> Batch:
        """What a segmenter gets."""
        return Batch([annotation.image.stem for annotation in self.annotations], self.images, self.masks)

    @property
    def annotated(self) -> DetectionBatch:
        """What a detector gets."""
        return DetectionBatch(self.images, self.boxes, self.labels, self.sizes, self.annotations)
