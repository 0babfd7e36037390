"""What a model says of a frame, drawn over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from mbseg.runtime.answers import Answer
from mbseg.video.boxes import draw_boxes
from mbseg.video.names import Names
from mbseg.video.overlay import OPACITY, Colour, blend_table, blended

UInt8Array = NDArray[np.uint8]


@final
@dataclass(frozen=True)
class Painter:
    """Draws answers over frames [H, W, 3] BGR: the class map below, the boxes above."""

    table: UInt8Array  # of `blend_table`, BGR
    box_classes: Sequence[str]
    box_palette: Sequence[Colour]  # BGR

    @classmethod
    def of(cls, mask: Names | None, boxes: Names | None, *, opacity: float = OPACITY) -> Self:
        """For a model that finds class maps, boxes, or both; `opacity` from 0 to 1."""
        table = blend_table(as_bgr(mask.palette) if mask else (), opacity)
        return cls(table, boxes.classes if boxes else (), as_bgr(boxes.palette) if boxes else ())

    def __call__(self, frame: UInt8Array, answer: Answer) -> UInt8Array:
        """The frame with its answer over it; the frame itself stays as it is."""
        drawn = frame if answer.mask is None else blended(frame, answer.mask, self.table)
        if (found := answer.detections) is None:
            return drawn
        boxes, labels, scores = found.boxes.numpy(), found.labels.numpy(), found.scores.numpy()
        return draw_boxes(drawn, boxes, labels, scores, self.box_classes, self.box_palette, least_score=0)


def as_bgr(palette: Sequence[Colour]) -> tuple[Colour, ...]:
    return tuple((blue, green, red) for red, green, blue in palette)
