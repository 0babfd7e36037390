"""Boxes drawn over pictures, each with a tag that says what is in it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbseg.video.opencv import quiet_cv2
from mbseg.video.overlay import Colour, UInt8Array

LEAST_SCORE = 0.5
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
LIGHT = 100  # of 255; with it the text's contrast is 3:1 or more on every colour
SMALLEST_TEXT = 0.35  # of the font's size; below it nobody can read it
Place = tuple[int, int]  # (x, y) of the upper left pixel


class Pen(NamedTuple):
    """How thick lines and how large letters are."""

    line: int  # pixels
    text: float  # of the font's size
    stroke: int  # pixels, of the letters

    @classmethod
    def for_picture(cls, height: int, width: int) -> "Pen":
        line = max(1, round((height + width) / 550))
        return cls(line, max(SMALLEST_TEXT, min(height, width) / 1000), -(-line // 3))


class Tag(NamedTuple):
    """A line of text on a filled ground."""

    text: str
    width: int
    height: int
    baseline: int  # how far below the letters' feet the ground reaches


def draw_boxes(
    image: UInt8Array,
    boxes: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    scores: NDArray[np.floating[Any]] | None,
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    least_score: float = LEAST_SCORE,
) -> UInt8Array:
    """Picture [H, W, 3] with boxes over it, xyxy [n, 4] in its pixels, finite; picture and palette RGB, or both BGR.

    A tag at every box says its class and, where there are scores, its score. Boxes below `least_score` are left out,
    and the more probable a box is, the higher it lies. From version 5 on, OpenCV's font knows most scripts; what it
    does not know becomes a question mark.
    """
    drawn = image.copy()
    pen = Pen.for_picture(*image.shape[:2])
    for index in drawing_order(len(boxes), scores, least_score):
        label = int(labels[index])
        text = classes[label] if scores is None else f"{classes[label]} {scores[index]:.2f}"
        draw_box(drawn, boxes[index], text, palette[label], pen)
    return drawn


def drawing_order(count: int, scores: NDArray[np.floating[Any]] | None, least_score: float) -> list[int]:
    """The boxes to be drawn, the most probable last."""
    if scores is None:
        return list(range(count))
    order = np.argsort(scores, kind="stable")
    return [int(index) for index in order if scores[index] >= least_score]


def draw_box(image: UInt8Array, box: NDArray[np.floating[Any]], text: str, colour: Colour, pen: Pen) -> None:
    """One box, xyxy, and its tag, drawn into `image`."""
    cv2 = quiet_cv2()
    left, top, right, bottom = pixels_of(box, image.shape[:2])
    cv2.rectangle(image, (left, top), (right, bottom), colour, pen.line)
    tag = make_tag(text, pen)
    x, y = place_of(tag, (left, top), image.shape[:2])
    cv2.rectangle(image, (x, y), (x + tag.width - 1, y + tag.height - 1), colour, cv2.FILLED)
    feet = (x + pen.line, y + tag.height - 1 - tag.baseline)
    cv2.putText(image, tag.text, feet, cv2.FONT_HERSHEY_SIMPLEX, pen.text, text_colour(colour), pen.stroke, cv2.LINE_AA)


def pixels_of(box: NDArray[np.floating[Any]], size: tuple[int, int]) -> list[int]:
    """First and last pixel of a box, (left, top, right, bottom), inside a picture of `size` (height, width)."""
    height, width = size
    corners = np.rint(box) - (0, 0, 1, 1)  # a box ends where its last pixel does
    pixels: list[int] = corners.clip(0, (width - 1, height - 1, width - 1, height - 1)).astype(int).tolist()
    return pixels


def make_tag(text: str, pen: Pen) -> Tag:
    cv2 = quiet_cv2()
    text = text.encode(errors="replace").decode()  # OpenCV crashes on half a character
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, pen.text, pen.stroke)
    return Tag(text, width + 2 * pen.line, height + baseline + 2 * pen.line, baseline + pen.line)


def place_of(tag: Tag, corner: Place, size: tuple[int, int]) -> Place:
    """Above the upper left `corner` of a box, or in it if there is no room; inside the picture if it fits at all."""
    (height, width), (x, y) = size, corner
    above = y - tag.height
    top = above if above >= 0 else min(y, height - tag.height)
    return max(0, min(x, width - tag.width)), max(0, top)


def text_colour(ground: Colour) -> Colour:
    """Black on a light ground, white on a dark one; as red and blue weigh the same, RGB and BGR are alike."""
    first, green, last = ground
    return BLACK if 0.2 * (first + last) + 0.6 * green > LIGHT else WHITE
