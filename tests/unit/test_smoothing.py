"""Answers steadied over time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mbseg.errors import ConfigError
from mbseg.runtime.answers import Answer
from mbseg.video.smoothing import Smoother, is_cut, patience, steady_boxes, steady_mask
from tests.streams import found

FRAME = np.full((24, 32, 3), 100, np.uint8)
masks = arrays(np.uint8, (3, 5), elements=st.integers(0, 20))
strengths = st.floats(0.01, 0.99)


def steadied(smooth: float, *said: np.ndarray) -> list[np.ndarray]:
    """What is shown of the masks of one scene."""
    smoother = Smoother(smooth)
    shown = [smoother(FRAME, Answer(mask=mask)).mask for mask in said]
    assert all(mask is not None for mask in shown)
    return [np.asarray(mask) for mask in shown]


@given(masks, strengths, st.integers(1, 6))
def test_a_class_map_that_does_not_change_is_left_alone(mask: np.ndarray, smooth: float, frames: int) -> None:
    for shown in steadied(smooth, *[mask] * frames):
        np.testing.assert_array_equal(shown, mask)


@given(masks, masks, strengths)
def test_what_shows_for_one_frame_vanishes(mask: np.ndarray, flicker: np.ndarray, smooth: float) -> None:
    for shown in steadied(smooth, mask, flicker, mask, flicker, mask):
        np.testing.assert_array_equal(shown, mask)


@given(masks, masks, st.floats(0.01, 0.95))
def test_a_change_that_lasts_comes_through_after_as_many_frames_as_the_patience(
    before: np.ndarray, after: np.ndarray, smooth: float
) -> None:
    shown = steadied(smooth, before, *[after] * patience(smooth))
    np.testing.assert_array_equal(shown[-2], before)
    np.testing.assert_array_equal(shown[-1], after)


@given(st.lists(masks, min_size=1, max_size=5))
def test_without_smoothing_every_frame_shows_what_it_said(said: list[np.ndarray]) -> None:
    for shown, mask in zip(steadied(0.0, *said), said, strict=True):
        np.testing.assert_array_equal(shown, mask)


def test_a_pixel_that_never_agrees_with_itself_does_not_keep_its_old_class_for_ever() -> None:
    said = [np.full((1, 1), label, np.uint8) for label in (0, 1, 2, 1, 2)]
    assert [int(shown[0, 0]) for shown in steadied(0.6, *said)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("smooth", "frames"), [(0.0, 1), (0.2, 2), (0.5, 2), (0.75, 4), (0.8, 5), (0.9, 10), (0.9999, 255)]
)
def test_patience_is_the_length_of_the_average(smooth: float, frames: int) -> None:
    assert patience(smooth) == frames


def test_memories_of_masks_are_not_changed_behind_their_back() -> None:
    first = steady_mask(np.zeros((2, 2), np.uint8), None, 3)
    steady_mask(np.ones((2, 2), np.uint8), first, 3)
    assert not first.shown.any() and not first.doubt.any()


@pytest.mark.parametrize("frame", [np.full((24, 32, 3), 200, np.uint8), np.full((30, 32, 3), 100, np.uint8)])
def test_another_scene_or_size_begins_anew(frame: np.ndarray) -> None:
    smoother = Smoother(0.9)
    smoother(FRAME, Answer(np.zeros(FRAME.shape[:2], np.uint8), found([[0, 0, 10, 10]], [0])))
    after = Answer(np.ones(frame.shape[:2], np.uint8), found([[0, 0, 10, 12]], [0]))
    shown = smoother(frame, after)
    assert shown.mask is not None and shown.detections is not None and after.detections is not None
    np.testing.assert_array_equal(shown.mask, after.mask)
    assert torch.equal(shown.detections.boxes, after.detections.boxes)


def test_moving_things_are_no_cut() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    assert not is_cut(picture, (picture * 0.9).astype(np.uint8))
    assert is_cut(picture, np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8))


def test_a_box_moves_towards_the_last_one_of_its_class() -> None:
    before, now = found([[0, 0, 100, 100]], [3]), found([[10, 0, 110, 100]], [3])
    steady = steady_boxes(now, before, 0.75)
    assert steady.boxes.tolist() == [[2.5, 0, 102.5, 100]]
    assert steady.scores is now.scores and steady.labels is now.labels
    assert now.boxes.tolist() == [[10, 0, 110, 100]]


@pytest.mark.parametrize(
    ("box", "label"), [([0.0, 0, 100, 100], 4), ([60.0, 0, 160, 100], 3)], ids=["another class", "hardly overlapping"]
)
def test_a_box_of_something_else_is_left_alone(box: list[float], label: int) -> None:
    now = found([box], [label])
    assert torch.equal(steady_boxes(now, found([[0, 0, 100, 100]], [3]), 0.9).boxes, now.boxes)


def test_one_box_before_is_continued_by_one_box_only() -> None:
    now = found([[0, 0, 100, 90], [0, 0, 100, 80]], [3, 3])
    steady = steady_boxes(now, found([[0, 0, 100, 100]], [3]), 0.5)
    assert steady.boxes.tolist() == [[0, 0, 100, 95], [0, 0, 100, 80]]


def test_no_boxes_before_or_now_are_no_trouble() -> None:
    some, none = found([[0, 0, 9, 9]], [0]), found([], [])
    assert steady_boxes(some, none, 0.5) is some
    assert len(steady_boxes(none, some, 0.5).boxes) == 0


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(1, 40), st.floats(1, 40)), max_size=5), strengths
)
def test_boxes_that_stay_where_they_are_stay_where_they_are(places: list[tuple[float, ...]], smooth: float) -> None:
    boxes = [[left, top, left + width, top + height] for left, top, width, height in places]
    now = found(boxes, list(range(len(boxes))))
    torch.testing.assert_close(steady_boxes(now, now, smooth).boxes, now.boxes)


@pytest.mark.parametrize("smooth", [-0.1, 1.0, float("nan")])
def test_other_strengths_are_refused(smooth: float) -> None:
    with pytest.raises(ConfigError, match="must be 0 or more"):
        Smoother(smooth)
