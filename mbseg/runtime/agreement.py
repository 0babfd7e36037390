"""How far two runs of the same model agree: equal pixels, and boxes that are found again."""

from dataclasses import dataclass

import torch

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import iou
from mbseg.runtime.answers import Answer

LEAST_SCORE = 0.5  # of the detections that are to be found again
LEAST_IOU = 0.9


@dataclass
class Agreement:
    """Counts over several pictures."""

    pixels: int = 0
    equal_pixels: int = 0
    detections: int = 0
    matched_detections: int = 0

    def add(self, expected: Answer, found: Answer) -> None:
        if expected.mask is not None:
            assert found.mask is not None
            self.pixels += expected.mask.size
            self.equal_pixels += int((expected.mask == found.mask).sum())
        if expected.detections is not None:
            assert found.detections is not None
            matched = found_again(expected.detections, found.detections)
            self.detections += len(matched)
            self.matched_detections += int(matched.sum())

    @property
    def shares(self) -> dict[str, float]:
        """Of equal pixels and of matched detections, in [0, 1]; a key only for what was compared."""
        counts = {
            "pixels": (self.equal_pixels, self.pixels),
            "detections": (self.matched_detections, self.detections),
        }
        return {name: part / whole for name, (part, whole) in counts.items() if whole}


def found_again(expected: Detections, found: Detections) -> torch.Tensor:
    """Which of the `expected` have a box of the same class with an IoU above 0.9 in `found`: [n] bool.

    Asked for are those with a score above 0.5, or, in a picture without one, the most probable.
    """
    count = max(1, int((expected.scores > LEAST_SCORE).sum()))
    same_class = expected.labels[:count, None] == found.labels
    return ((iou(expected.boxes[:count], found.boxes) > LEAST_IOU) & same_class).any(1)
