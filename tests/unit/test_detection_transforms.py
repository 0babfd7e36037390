"""SSD's augmentation: boxes follow their objects, and everything is determined by the numbers."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbseg.data.detection_resize import Resize
from mbseg.data.detection_samples import Annotation, DetectionSample
from mbseg.data.detection_transforms import detection_transform, holds_centre
from mbseg.data.overlap import iou

FILL = (255, 255, 255)
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
sides = st.integers(8, 90)


def drawn(boxes, height: int = 120, width: int = 160) -> DetectionSample:
    """Up to three boxes of whole pixels on black, in red, green and blue; their labels are 0, 1 and 2."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    image = np.zeros((height, width, 3), np.uint8)
    for channel, (left, top, right, bottom) in enumerate(boxes.astype(int)):
        image[top:bottom, left:right, channel] = 255
    return labelled(image, boxes)


def labelled(image, boxes) -> DetectionSample:
    labels, none = np.arange(len(boxes)), np.zeros(len(boxes), np.bool_)
    annotation = Annotation(Path("a"), Path("a"), 0, None, boxes, labels, labels, none, none)
    return DetectionSample(image, boxes, labels, image.shape[:2], annotation)


OBJECTS = drawn([[10, 10, 50, 40], [60, 20, 100, 110], [110, 60, 150, 100]])


def shown(image, channel: int) -> list[int]:
    """The box of the pixels that have more than half of a colour."""
    rows, columns = np.nonzero(image[..., channel] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("index", range(40))
def test_boxes_and_labels_follow_their_objects(index: int) -> None:
    changed = detection_transform((300, 240), fill=(0, 0, 0), **STILL)(OBJECTS, (0, 0, index))
    assert changed.image.shape == (300, 240, 3)
    assert 1 <= len(changed.boxes) == len(changed.labels) <= 3
    for box, label in zip(changed.boxes, changed.labels, strict=True):
        assert shown(changed.image, label) == pytest.approx(box.tolist(), abs=0.7)


@settings(max_examples=25)
@given(sides, sides, sides, sides, st.integers(0, 20), st.integers(0, 2**32))
def test_any_picture_with_any_boxes_comes_out_whole(height, width, out_height, out_width, count, seed) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 0.8, (count, 2))
    ends = corners + rng.uniform(0.01, 1, (count, 2)) * (1 - corners)
    boxes = (np.hstack([corners, ends]) * (width, height, width, height)).astype(np.float32)
    changed = detection_transform((out_height, out_width))(
        labelled(np.zeros((height, width, 3), np.uint8), boxes), (seed,)
    )
    assert changed.image.shape == (out_height, out_width, 3) and changed.image.dtype == np.uint8
    assert changed.boxes.dtype == np.float32 and changed.boxes.shape == (len(changed.labels), 4)
    assert (changed.boxes >= 0).all()
    assert (changed.boxes <= np.float32([out_width, out_height] * 2) + 1e-3).all()
    assert (changed.boxes[:, 2:] - changed.boxes[:, :2] > 0.99).all()


@pytest.mark.parametrize("index", range(8))
def test_a_picture_without_objects_is_augmented_too(index: int) -> None:
    changed = detection_transform((60, 80))(drawn([]), (index,))
    assert changed.image.shape == (60, 80, 3)
    assert changed.boxes.shape == (0, 4)
    assert len(changed.labels) == 0


def test_for_evaluation_boxes_are_only_scaled() -> None:
    changed = Resize((240, 80))(OBJECTS, ())
    np.testing.assert_allclose(changed.boxes, OBJECTS.boxes * (0.5, 2, 0.5, 2), rtol=1e-5)
    assert changed.labels.tolist() == [0, 1, 2]
    same = Resize((120, 160))(OBJECTS, ())
    assert (same.image == OBJECTS.image).all()
    np.testing.assert_allclose(same.boxes, OBJECTS.boxes, rtol=1e-5)


def test_the_annotation_and_the_size_of_the_file_are_left_alone() -> None:
    changed = detection_transform((64, 64))(OBJECTS, (3,))
    assert changed.annotation is OBJECTS.annotation
    assert changed.size == (120, 160)


def test_the_same_numbers_give_the_same_sample_and_others_another() -> None:
    transform = detection_transform((64, 64))
    first, again, other = (transform(OBJECTS, (7, 3, index)) for index in (5, 5, 6))
    for field in ("image", "boxes", "labels"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert (first.image != other.image).any()


def test_a_transform_survives_the_way_to_a_spawned_worker() -> None:
    transform = detection_transform((64, 64))
    sent = pickle.loads(pickle.dumps(transform))
    assert (sent(OBJECTS, (1,)).image == transform(OBJECTS, (1,)).image).all()


def many(count: int = 300, **options) -> list[DetectionSample]:
    transform = detection_transform((60, 80), **({"fill": FILL} | STILL | options))
    return [transform(OBJECTS, (index,)) for index in range(count)]


def test_half_of_the_pictures_are_zoomed_out_up_to_four_times_and_the_fill_is_around_them() -> None:
    shares = np.array([(sample.image != 255).any(axis=2).mean() for sample in many(crop=False)])  # 1 / ratio squared
    assert 0.4 < (shares < 1).mean() < 0.6
    assert 1 / 16 * 0.9 < shares.min() < 1 / 12
    ratios = shares[shares < 1] ** -0.5
    assert 2.2 < ratios.mean() < 2.8  # uniform


def test_half_of_the_pictures_are_flipped_whether_zoomed_or_not() -> None:
    flipped, zoomed = [], []
    for sample in many(crop=False):
        centre = dict(zip(sample.labels.tolist(), sample.boxes[:, 0], strict=True))
        flipped.append(centre[0] > centre[2])
        zoomed.append((sample.image == 255).all(axis=2).any())
    assert 0.4 < np.mean(flipped) < 0.6
    assert abs(np.corrcoef(flipped, zoomed)[0, 1]) < 0.15


def test_crops_lose_objects_but_never_all_and_sometimes_there_is_none() -> None:
    counts = np.bincount([len(sample.labels) for sample in many(zoom_out=1)], minlength=4)
    assert counts[0] == 0
    assert (counts[1:] > 20).all()
    whole = [sample for sample in many(zoom_out=1, flip=0) if np.allclose(sample.boxes[:1], OBJECTS.boxes[:1] / 2)]
    assert 0.1 < len(whole) / 300 < 0.4  # one option of those that some attempt fits


def test_without_zoom_crop_flip_and_jitter_a_picture_stays_as_it_is() -> None:
    still = detection_transform((120, 160), zoom_out=1, crop=False, flip=0, **STILL)(OBJECTS, (0,))
    assert (still.image == OBJECTS.image).all()
    np.testing.assert_allclose(still.boxes, OBJECTS.boxes, rtol=1e-5)


@pytest.mark.parametrize("kind", STILL)
def test_a_half_of_the_pictures_has_its_colours_changed_and_never_its_boxes(kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    sample = replace(drawn([[2, 3, 10, 12]], 20, 30), image=image)
    transform = detection_transform((20, 30), zoom_out=1, crop=False, flip=0, **(STILL | {kind: 0.4}))
    changed = [transform(sample, (index,)) for index in range(100)]
    assert 0.3 < np.mean([(other.image != image).any() for other in changed]) < 0.7
    np.testing.assert_allclose([other.boxes for other in changed], [sample.boxes] * 100, rtol=1e-5)


def test_overlap_and_centres_of_boxes_side_by_side_and_inside_one_another() -> None:
    first = np.array([[0, 0, 10, 10.0]])
    second = np.array([[0, 0, 10, 5], [5, 5, 15, 15], [10, 0, 20, 10], [4, 4, 4, 4], [2, 2, 4, 7.0]])
    np.testing.assert_allclose(iou(first, second), [[0.5, 25 / 175, 0, 0, 0.1]])
    assert holds_centre(first, second).tolist() == [[True, False, False, True, True]]
