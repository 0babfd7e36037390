"""Boxes that cannot be trained on: cut at the picture's edge or dropped, and told to `check-data`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mbseg.data.detection_samples import Annotation, Doubles, Flags, Floats, Size

LEAST_SIDE = 1.0  # pixel; a thinner box has no logarithm of its size worth learning
ROUNDING = 1.0  # pixel by which a box may leave the picture without a word: files hold rounded numbers

NOT_FINITE = "not finite"
SWAPPED = "swapped"
OUTSIDE = "outside the picture"
DEGENERATE = "thinner than a pixel"
CLIPPED = "partly outside the picture"
FATE = dict.fromkeys((NOT_FINITE, SWAPPED, OUTSIDE, DEGENERATE), "dropped") | {CLIPPED: "cut"}


class CheckedBoxes(NamedTuple):
    """Of n boxes, what can be trained on; `problems` holds "" for a sound box."""

    boxes: Floats  # [kept, 4] xyxy inside the picture
    kept: Flags  # [n]
    problems: tuple[str, ...]  # [n]


@np.errstate(invalid="ignore", over="ignore")  # infinite less infinite
def check_boxes(boxes: Doubles, size: Size) -> CheckedBoxes:
    """Judge boxes [n, 4] xyxy in a picture of `size` (height, width); the first problem of each counts."""
    height, width = size
    inside = np.clip(boxes, 0, (width, height, width, height))
    problems = np.full(len(boxes), "", dtype=object)
    for problem, found in (
        (CLIPPED, (np.abs(inside - boxes) > ROUNDING).any(axis=1)),
        (DEGENERATE, _sides(inside).min(axis=1) < LEAST_SIDE),
        (OUTSIDE, (_sides(inside) <= 0).any(axis=1) & (_sides(boxes) > 0).all(axis=1)),
        (SWAPPED, (_sides(boxes) < 0).any(axis=1)),
        (NOT_FINITE, ~np.isfinite(boxes).all(axis=1)),
    ):
        problems[found] = problem
    kept = np.isin(problems.astype(str), ("", CLIPPED))
    return CheckedBoxes(inside[kept].astype(np.float32), kept, tuple(problems))


def _sides(boxes: Doubles) -> Doubles:
    """Widths and heights [n, 2]."""
    return boxes[:, 2:] - boxes[:, :2]


class BoxReport(NamedTuple):
    """How many boxes there are, and how many have each problem."""

    total: int
    problems: Counter[str]

    def __str__(self) -> str:
        if not self.problems:
            return f"{self.total} boxes"
        found = ", ".join(f"{count} {FATE[problem]} ({problem})" for problem, count in self.problems.items())
        return f"{self.total} boxes: {found}"


def report_boxes(checked: Iterable[CheckedBoxes]) -> BoxReport:
    """Count over many pictures."""
    total, problems = 0, Counter[str]()
    for boxes in checked:
        total += len(boxes.kept)
        problems.update(filter(None, boxes.problems))
    return BoxReport(total, problems)


def box_faults(annotation: Annotation, size: Size, classes: Sequence[str]) -> list[str]:
    """A sentence for each faulty box of a picture of `size`, naming its number (from 1), class and corners."""
    boxes = annotation.xyxy
    return [
        f"box {index + 1} ({classes[annotation.labels[index]]}) {_text(boxes[index])} is {problem}: {FATE[problem]}"
        for index, problem in enumerate(check_boxes(boxes, size).problems)
        if problem
    ]


def _text(box: Doubles) -> str:
    return "[" + ", ".join(f"{corner:g}" for corner in box) + "]"
