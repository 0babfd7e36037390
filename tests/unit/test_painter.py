"""Answers over frames: class maps, boxes, both."""

import numpy as np

from mbseg.runtime.answers import Answer
from mbseg.video.boxes import draw_boxes
from mbseg.video.names import Names
from mbseg.video.overlay import overlay
from mbseg.video.painter import Painter
from tests.streams import found

FRAME = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
MASK = np.random.default_rng(1).integers(0, 3, (60, 80)).astype(np.uint8)
RGB = ((0, 0, 0), (200, 10, 30), (5, 60, 250))
BGR = [colour[::-1] for colour in RGB]
CLASSES = Names(("nothing", "cat", "dog"), RGB)
OBJECTS = Names(("cat", "dog"), RGB[1:])
FOUND = found([[5.0, 20, 50, 50], [30, 30, 70, 55]], [1, 0])


def with_boxes(picture: np.ndarray) -> np.ndarray:
    boxes, labels, scores = FOUND.boxes.numpy(), FOUND.labels.numpy(), FOUND.scores.numpy()
    return draw_boxes(picture, boxes, labels, scores, OBJECTS.classes, BGR[1:])


def test_a_class_map_is_laid_over_the_frame() -> None:
    drawn = Painter.of(CLASSES, None, opacity=0.3)(FRAME, Answer(mask=MASK))
    np.testing.assert_array_equal(drawn, overlay(FRAME, MASK, BGR, opacity=0.3))


def test_boxes_are_drawn_over_the_frame() -> None:
    drawn = Painter.of(None, OBJECTS)(FRAME, Answer(detections=FOUND))
    np.testing.assert_array_equal(drawn, with_boxes(FRAME))


def test_boxes_lie_over_the_class_map_where_there_are_both() -> None:
    drawn = Painter.of(CLASSES, OBJECTS)(FRAME, Answer(MASK, FOUND))
    np.testing.assert_array_equal(drawn, with_boxes(overlay(FRAME, MASK, BGR)))


def test_the_frame_itself_is_left_alone() -> None:
    before = FRAME.copy()
    Painter.of(CLASSES, OBJECTS)(FRAME, Answer(MASK, FOUND))
    np.testing.assert_array_equal(FRAME, before)
