"""Where the labels of a chart's points go, so that none covers a mark or another label."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

DIRECTIONS = (0, 90, 270, 45, 315, 135, 225, 180, 22, 338, 158, 202, 68, 292, 112, 248)  # degrees, the best first
DISTANCES = (1.0, 1.6, 3.0, 5.0, 8.0)  # in `gap`s from the point to the label
LINE_WEIGHT = 150  # pixels on a line make a place as bad as so many steps of the label's own area


class Box(NamedTuple):
    """A rectangle in pixels; y points up."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)

    def grown(self, margin: float) -> "Box":
        return Box(self.left - margin, self.bottom - margin, self.right + margin, self.top + margin)

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """The place in the box that is nearest to (x, y)."""
        x, y = point
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def overlap(self, other: "Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0) * max(height, 0)


class Label(NamedTuple):
    """A label that was placed."""

    box: Box
    is_near: bool  # so close to its point that no line need lead there
    is_clear: bool  # inside the frame, on no mark and no other label


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    marks: Sequence[Box],
    lines: Sequence[Box],
    frame: Box,
    gap: float,
) -> list[Label]:
    """A place for the label (width, height) of each anchor (x, y), one after the other: give the important ones first.

    Each takes the place that covers least of marks and labels, then of lines, then the nearest. All is in pixels.
    """
    labels: list[Label] = []
    for anchor, size in zip(anchors, sizes, strict=True):
        taken = [*marks, *(label.box for label in labels)]
        labels.append(best_place(anchor, size, taken, lines, frame, gap))
    return labels


def best_place(
    anchor: tuple[float, float],
    size: tuple[float, float],
    taken: Sequence[Box],
    lines: Sequence[Box],
    frame: Box,
    gap: float,
) -> Label:
    def penalty(place: tuple[int, tuple[Box, bool]]) -> tuple[float, float]:
        step, (box, _) = place
        on_lines = sum(box.overlap(line) for line in lines)
        return covered(box, taken, frame), LINE_WEIGHT * on_lines + step * box.area

    _, (box, is_near) = min(enumerate(candidates(anchor, size, gap)), key=penalty)
    return Label(box, is_near, is_clear=covered(box, taken, frame) == 0)


def covered(box: Box, taken: Sequence[Box], frame: Box) -> int:
    """The pixels of the box on what is taken or outside the frame."""
    return int(sum(box.overlap(other) for other in taken) + box.area - box.overlap(frame))


def candidates(anchor: tuple[float, float], size: tuple[float, float], gap: float) -> Iterator[tuple[Box, bool]]:
    """Boxes of that size round the anchor, from near to far, and whether each is near."""
    (x, y), (width, height) = anchor, size
    for distance in DISTANCES:
        for degrees in DIRECTIONS:
            cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            left = x + cos * distance * gap + (towards_an_edge(cos) - 1) * width / 2
            bottom = y + sin * distance * gap + (towards_an_edge(sin) - 1) * height / 2
            yield Box(left, bottom, left + width, bottom + height), distance < 2


def towards_an_edge(direction: float) -> float:
    """Which part of the label faces the point: the middle at 0, an edge at -1 and 1, and from 45 degrees on."""
    return max(-1.0, min(1.0, 1.5 * direction))
