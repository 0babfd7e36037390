"""Class maps over pictures."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbseg.video.overlay import colour_table, grid, overlay, side_by_side

PALETTE = [(0, 0, 0), (200, 0, 0)]
GREY = np.full((1, 3, 3), 100, np.uint8)


def test_colours_are_blended_and_background_and_ignored_pixels_stay_bare() -> None:
    drawn = overlay(GREY, np.array([[0, 1, 255]], np.uint8), PALETTE, opacity=0.5)
    assert drawn.tolist() == [[[100, 100, 100], [150, 50, 50], [100, 100, 100]]]


@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_every_pixel_is_what_opencv_blends(opacity: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    image, mask = random.integers(0, 256, (9, 31, 3)).astype(np.uint8), random.integers(0, 30, (9, 31)).astype(np.uint8)
    palette = [(0, 0, 0), *map(tuple, random.integers(1, 256, (20, 3)).tolist())]
    colours = colour_table(palette)
    expected = cv2.addWeighted(image, 1 - opacity, colours[mask], opacity, 0)
    bare = colours[mask].max(-1) == 0
    expected[bare] = image[bare]
    np.testing.assert_array_equal(overlay(image, mask, palette, opacity=opacity), expected)


@pytest.mark.parametrize("turned", [lambda array: array[::-1], lambda array: np.asfortranarray(array)])
def test_it_does_not_matter_how_pixels_lie_in_memory(turned) -> None:
    random = np.random.default_rng(0)
    image, mask = random.integers(0, 256, (9, 31, 3)).astype(np.uint8), random.integers(0, 2, (9, 31)).astype(np.uint8)
    drawn = overlay(turned(image), turned(mask), PALETTE)
    np.testing.assert_array_equal(drawn, turned(overlay(image, mask, PALETTE)))


def test_pictures_stand_side_by_side_with_a_white_line_between_them() -> None:
    row = side_by_side(GREY, GREY)
    assert row.shape == (1, 8, 3)
    assert (row[:, 3:5] == 255).all()


def test_a_grid_fills_its_rows_from_the_left() -> None:
    sheet = grid([GREY, GREY, GREY], columns=2)
    assert sheet.shape == (14, 18, 3)
    assert (sheet[13, :3] == 100).all()
    assert (sheet[13, 3:] == 255).all()
