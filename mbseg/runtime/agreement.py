"""How far two runs of the same model agree: equal pixels, and boxes that are found again."""

from dataclasses import dataclass

import torch

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import iou
from mbseg.runtime.answers import Answer

LEAST_SCORE = 0.5  # of the detections that are to be found again
LEAST_IOU = 0.9
LOGIT_MARGIN = 0.08  # a box nearer to a least score may lie below it in the other run, by rounding alone


@dataclass
class Agreement:
    """Counts over several pictures.

    Boxes below `least_score` are in neither run; those within rounding of it may be in one, and are not asked for.
    """

    least_score: float = 0.0
    pictures: int = 0
    pixels: int = 0
    equal_pixels: int = 0
    detections: int = 0
    matched_detections: int = 0

    def add(self, expected: Answer, found: Answer) -> None:
        self.pictures += 1
        if expected.mask is not None:
            assert found.mask is not None
            self.pixels += expected.mask.size
            self.equal_pixels += int((expected.mask == found.mask).sum())
        if expected.detections is not None:
            assert found.detections is not None
            matched = found_again(expected.detections, found.detections, self.least_score)
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


def found_again(expected: Detections, found: Detections, least_score: float = 0.0) -> torch.Tensor:
    """Which of the `expected` have a box of the same class with an IoU above 0.9 in `found`: [n] bool.

    Asked for are those clearly above 0.5 and the runs' own `least_score`, or, in a picture without one, the most
    probable, if that is clearly above `least_score`.
    """
    count = clearly_above(max(LEAST_SCORE, least_score), expected) or min(1, clearly_above(least_score, expected))
    same_class = expected.labels[:count, None] == found.labels
    return ((iou(expected.boxes[:count], found.boxes) > LEAST_IOU) & same_class).any(1)


def clearly_above(least: float, found: Detections) -> int:
    """How many: of a logit's rounding, a score p feels the share p (1 - p), so that 0.5 asks for 0.52."""
    return int((found.scores > least + LOGIT_MARGIN * least * (1 - least)).sum())
