"""Answers steadied over time: pixels keep their class, boxes their place, until some frames have said otherwise."""

from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import iou
from mbseg.errors import ConfigError
from mbseg.runtime.answers import Answer
from mbseg.video.opencv import quiet_cv2

UInt8Array = NDArray[np.uint8]
LONGEST_PATIENCE = 255  # frames
SAME_OBJECT = 0.5  # IoU from which a box is taken for the last frame's of its class
THUMBNAIL = (16, 16)
CUT = 32  # of 255: a thumbnail differs by less from the next one's of a scene, on average


class MaskMemory(NamedTuple):
    """What the frames so far have said of every pixel."""

    shown: UInt8Array  # [H, W]: its class
    doubt: UInt8Array  # [H, W]: frames that said otherwise, less those that agreed


@final
class Smoother:
    """Steadies the answers of one stream; begins anew where the scene or the size of the frames changes.

    `smooth` is the share of the past, 0 <= smooth < 1: boxes are averaged over about 1 / (1 - smooth) frames, and a
    pixel takes another class when as many have said so. Raises ConfigError for any other value.
    """

    def __init__(self, smooth: float) -> None:
        if not 0 <= smooth < 1:
            raise ConfigError(f"--smooth is {smooth:g}; it must be 0 or more (off), and below 1")
        self.smooth = smooth
        self.patience = patience(smooth)
        self._thumbnail: UInt8Array | None = None
        self._size: tuple[int, ...] = ()
        self._mask: MaskMemory | None = None
        self._boxes: Detections | None = None

    def __call__(self, frame: UInt8Array, answer: Answer) -> Answer:
        """The answer to a frame [H, W, 3], the next of its stream."""
        self._forget_another_scene(frame)
        if answer.mask is not None:
            self._mask = steady_mask(answer.mask, self._mask, self.patience)
        if answer.detections is not None:
            self._boxes = steady_boxes(answer.detections, self._boxes, self.smooth)
        return Answer(self._mask.shown if self._mask else None, self._boxes)

    def _forget_another_scene(self, frame: UInt8Array) -> None:
        thumbnail: UInt8Array = quiet_cv2().resize(frame, THUMBNAIL, interpolation=quiet_cv2().INTER_AREA)
        if frame.shape != self._size or self._thumbnail is None or is_cut(self._thumbnail, thumbnail):
            self._mask = self._boxes = None
        self._thumbnail, self._size = thumbnail, frame.shape


def patience(smooth: float) -> int:
    """Frames after which a pixel's class changes: 1 at 0, 2 up to 0.5, 5 at 0.8, 10 at 0.9."""
    return min(LONGEST_PATIENCE, int(np.ceil(1 / (1 - smooth) - 1e-6)))


def is_cut(before: UInt8Array, after: UInt8Array) -> bool:
    """Whether another scene begins between two thumbnails."""
    return float(np.abs(before.astype(np.int16) - after).mean()) > CUT


def steady_mask(mask: UInt8Array, memory: MaskMemory | None, patience: int) -> MaskMemory:
    """The memory after a frame's mask [H, W]; see `kernels.settle` for the rule."""
    from mbseg.video import kernels  # on first use: numba takes a while to import

    if memory is None:
        return MaskMemory(mask.copy(), np.zeros_like(mask))
    after = MaskMemory(memory.shown.copy(), memory.doubt.copy())
    kernels.settle(np.ascontiguousarray(mask), after.shown, after.doubt, patience)
    return after


def steady_boxes(found: Detections, before: Detections | None, smooth: float) -> Detections:
    """Boxes found, each moved towards the one before it of its class that it overlaps most, the most probable first."""
    if before is None or not len(before.boxes):
        return found
    overlaps = torch.where(found.labels[:, None] == before.labels, iou(found.boxes, before.boxes), 0).numpy()
    boxes = found.boxes.clone()
    for index, overlap in enumerate(overlaps):
        match = int(overlap.argmax())
        if overlap[match] >= SAME_OBJECT:
            boxes[index] = torch.lerp(found.boxes[index], before.boxes[match], smooth)
            overlaps[:, match] = 0  # each is continued once
    return Detections(boxes, found.scores, found.labels)
