"""Class maps over pictures."""

import numpy as np

from mbseg.video.overlay import grid, overlay, side_by_side

PALETTE = [(0, 0, 0), (200, 0, 0)]
GREY = np.full((1, 3, 3), 100, np.uint8)


def test_colours_are_blended_and_background_and_ignored_pixels_stay_bare() -> None:
    drawn = overlay(GREY, np.array([[0, 1, 255]], np.uint8), PALETTE, opacity=0.5)
    assert drawn.tolist() == [[[100, 100, 100], [150, 50, 50], [100, 100, 100]]]


def test_pictures_stand_side_by_side_with_a_white_line_between_them() -> None:
    row = side_by_side(GREY, GREY)
    assert row.shape == (1, 8, 3)
    assert (row[:, 3:5] == 255).all()


def test_a_grid_fills_its_rows_from_the_left() -> None:
    sheet = grid([GREY, GREY, GREY], columns=2)
    assert sheet.shape == (14, 18, 3)
    assert (sheet[13, :3] == 100).all()
    assert (sheet[13, 3:] == 255).all()
