"""Boxes and their tags over pictures."""

import itertools

import numpy as np
import pytest

from mbseg.video.boxes import Pen, draw_boxes, make_tag, pixels_of, place_of, text_colour

RED, BLUE = (200, 0, 0), (0, 0, 200)
CLASSES = ("person", "dog")
PALETTE = (RED, BLUE)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def drawn(image: np.ndarray, boxes: list[list[float]], labels: list[int], scores: list[float] | None) -> np.ndarray:
    known = None if scores is None else np.array(scores)
    return draw_boxes(image, np.reshape(boxes, (-1, 4)), np.array(labels, int), known, CLASSES, PALETTE)


def is_coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(-1)


def test_a_box_is_framed_in_its_colour_from_its_first_pixel_to_its_last() -> None:
    picture = drawn(grey(300, 300), [[50, 100, 150, 200]], [1], None)
    frame = is_coloured(picture, BLUE)
    assert frame[100:200, [50, 149]].all()
    assert frame[[100, 199], 50:150].all()
    assert not frame[105:195, 55:145].any()
    assert not frame[202:].any()


def test_the_picture_itself_is_left_alone() -> None:
    image = grey(90, 120)
    drawn(image, [[10, 10, 60, 60]], [0], [0.9])
    assert (image == 100).all()


def test_without_boxes_nothing_is_drawn() -> None:
    assert (drawn(grey(40, 50), [], [], []) == 100).all()


def test_boxes_below_the_least_score_are_left_out() -> None:
    boxes = [[10.0, 40, 90, 90], [110.0, 40, 190, 90]]
    picture = drawn(grey(100, 200), boxes, [0, 1], [0.49, 0.5])
    assert not is_coloured(picture, RED).any()
    assert is_coloured(picture, BLUE).any()


def test_the_most_probable_box_lies_on_top_in_whatever_order_they_come() -> None:
    box = [10.0, 40.0, 90.0, 90.0]
    for labels, scores in (([0, 1], [0.9, 0.6]), ([1, 0], [0.6, 0.9])):
        picture = drawn(grey(100, 100), [box, box], labels, scores)
        assert is_coloured(picture, RED)[41:90, 10].all()
        assert not is_coloured(picture, BLUE)[41:90, 10].any()


def test_a_score_is_told_behind_the_class() -> None:
    box, label = np.array([[10.0, 60, 190, 190]]), np.array([0])
    scored = draw_boxes(grey(200, 200), box, label, np.array([0.704]), ["person"], [RED])
    named = draw_boxes(grey(200, 200), box, label, None, ["person 0.70"], [RED])
    np.testing.assert_array_equal(scored, named)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (64, 64), (480, 640), (3000, 17)])
@pytest.mark.parametrize("place", ["corners", "outside", "everywhere"])
def test_any_number_of_boxes_fits_any_picture(size: tuple[int, int], place: str) -> None:
    height, width = size
    boxes = {
        "corners": [[0, 0, 1, 1], [width - 1, height - 1, width, height], [0, 0, width, height]],
        "outside": [[-1e9, -5, -2, 1e9], [width + 5, 0, width + 9, height], [3, 3, 3, 3]],
        "everywhere": np.random.default_rng(0).uniform(0, max(size), (300, 4)).tolist(),
    }[place]
    labels = [index % 2 for index in range(len(boxes))]
    picture = drawn(grey(*size), boxes, labels, [1.0] * len(boxes))
    assert picture.shape == (*size, 3)
    assert (picture != 100).any()


def test_the_pixels_of_a_box_lie_in_the_picture() -> None:
    assert pixels_of(np.array([0.4, 1.6, 9.6, 20.0]), (10, 10)) == [0, 2, 9, 9]


@pytest.mark.parametrize("corner", [(0, 0), (0, 479), (639, 0), (639, 479), (300, 5), (300, 200)])
def test_a_tag_stays_inside_the_picture(corner: tuple[int, int]) -> None:
    tag = make_tag("potted plant 0.87", Pen.for_picture(480, 640))
    x, y = place_of(tag, corner, (480, 640))
    assert 0 <= x <= 640 - tag.width
    assert 0 <= y <= 480 - tag.height


def test_a_tag_lies_above_its_box_where_there_is_room_and_in_it_where_there_is_none() -> None:
    tag = make_tag("dog", Pen.for_picture(480, 640))
    assert place_of(tag, (50, 200), (480, 640)) == (50, 200 - tag.height)
    assert place_of(tag, (50, 3), (480, 640)) == (50, 3)


def test_lines_and_letters_grow_with_the_picture() -> None:
    small, large = Pen.for_picture(240, 320), Pen.for_picture(2160, 3840)
    assert small.line == 1
    assert large.line > 5
    assert large.text > 5 * small.text


@pytest.mark.parametrize("name", ["Straße", "行人", "\U0001f600", "\ud800", "", "a\nb", "a" * 3000])
def test_any_name_of_a_class_can_be_drawn(name: str) -> None:
    box, label = np.array([[10.0, 20, 30, 40]]), np.array([0])
    picture = draw_boxes(grey(60, 80), box, label, None, [name], [RED])
    assert is_coloured(picture, RED).any()


def relative_luminance(colour: tuple[int, ...]) -> float:
    """Of sRGB, as WCAG 2.1 defines it."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in np.divide(colour, 255)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_text_is_readable_on_every_colour_in_rgb_as_in_bgr() -> None:
    """A contrast of 3:1 is what WCAG 2.1 asks of large text."""
    for colour in itertools.product(range(0, 256, 15), repeat=3):
        text, ground = relative_luminance(text_colour(colour)), relative_luminance(colour)
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 3
        assert text_colour(colour) == text_colour(colour[::-1])
