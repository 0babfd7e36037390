"""Augmentation: aligned, within its ranges, and determined by its numbers."""

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbseg.data.samples import Sample
from mbseg.data.transforms import Window, cut_out, training_transform

FILL = (124, 116, 104)
sides = st.integers(1, 40)


def drawn_mask(height: int, width: int, classes: int = 4) -> Sample:
    """A picture that shows its mask: smooth regions, each of one grey value."""
    noise = np.random.default_rng(0).random((6, 8), np.float32)
    mask = (cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 0.999) * classes).astype(np.uint8)
    return Sample("drawn", np.repeat(mask[..., None] * 60, 3, axis=2), mask)


def interior(mask) -> np.ndarray:
    """Pixels whose neighbours, four steps each way, all have their label."""
    inner = np.zeros(mask.shape, bool)
    windows = np.lib.stride_tricks.sliding_window_view(mask, (9, 9))
    inner[4:-4, 4:-4] = windows.min(axis=(2, 3)) == windows.max(axis=(2, 3))
    return inner


@pytest.mark.parametrize("rotate", [0, 30])
@pytest.mark.parametrize("index", range(8))
def test_picture_and_mask_stay_aligned(rotate: float, index: int) -> None:
    transform = training_transform((97, 129), rotate=rotate, fill=(255, 255, 255))
    changed = transform(drawn_mask(150, 200), (0, 0, index))
    inner = interior(changed.mask)
    shown = np.where(changed.mask == 255, 255, changed.mask * 60)
    assert inner.mean() > 0.2
    assert (changed.image[..., 0][inner] == shown[inner]).all()


@pytest.mark.parametrize("scale", [0.53, 0.77, 1.3, 1.9])
def test_no_edge_of_the_mask_is_shifted_by_a_part_of_a_pixel(scale: float) -> None:
    columns = np.arange(240) // 10 % 2  # stripes
    mask = np.broadcast_to(columns, (240, 240)).astype(np.uint8)
    sample = Sample("stripes", np.repeat(mask[..., None] * 200, 3, axis=2), mask)
    balance = []
    for index in range(20):
        changed = training_transform((64, 64), scale=(scale, scale), flip=0)(sample, (index,))
        inside = changed.mask != 255
        shown = changed.image[..., 0] / 200.0
        slope = np.gradient(shown, axis=1)
        balance.append(((shown - changed.mask) * np.sign(slope))[inside].mean() / np.abs(slope)[inside].mean())
    assert abs(np.mean(balance)) < 0.06  # pixels by which the picture's edges lie beside the mask's


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides, st.integers(0, 99))
def test_any_picture_comes_out_at_the_crop_size(height, width, crop_height, crop_width, index) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    sample = Sample("any", image, np.zeros((height, width), np.uint8))
    changed = training_transform((crop_height, crop_width), rotate=10, brightness=0.2)(sample, (index,))
    assert changed.image.shape == (crop_height, crop_width, 3)
    assert changed.mask.shape == (crop_height, crop_width)
    assert changed.image.dtype == changed.mask.dtype == np.uint8


@settings(max_examples=100, deadline=None)
@given(sides, sides, st.integers(-30, 50), st.integers(-30, 50), sides, sides)
def test_a_window_equals_the_same_cut_from_a_picture_framed_widely(height, width, top, left, high, wide) -> None:
    top, left = max(top, -high + 1), max(left, -wide + 1)
    top, left = min(top, height - 1), min(left, width - 1)  # it meets the picture
    pixels = np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)
    framed = np.pad(pixels, 100, constant_values=255)
    expected = framed[top + 100 : top + 100 + high, left + 100 : left + 100 + wide]
    assert (cut_out(pixels, Window(top, left, high, wide), (255,)) == expected).all()


def test_what_lies_beside_the_picture_has_the_fill_colour_and_is_ignored() -> None:
    sample = Sample("black", np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8))
    changed = training_transform((50, 50), scale=(1, 1), fill=FILL)(sample, (0,))
    assert (changed.mask == 0).sum() == 400
    assert (changed.image[changed.mask == 255] == FILL).all()
    assert not changed.image[changed.mask == 0].any()


def test_the_same_numbers_give_the_same_sample_and_others_another() -> None:
    transform = training_transform((64, 64), rotate=10, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    first, again, other = (transform(drawn_mask(90, 120), (7, 3, index)) for index in (5, 5, 6))
    assert (first.image == again.image).all()
    assert (first.mask == again.mask).all()
    assert (first.image != other.image).any()


def test_a_transform_survives_the_way_to_a_spawned_worker() -> None:
    transform = training_transform((64, 64), brightness=0.3)
    sample = drawn_mask(90, 120)
    assert (pickle.loads(pickle.dumps(transform))(sample, (1,)).image == transform(sample, (1,)).image).all()


def test_flipping_does_not_follow_the_scale() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (200, 200))
    sample = Sample("ramp", np.repeat(ramp[..., None], 3, axis=2), ramp)
    slopes = []
    for index in range(400):
        changed = training_transform((41, 41), scale=(1, 4))(sample, (index,))
        slopes.append(np.diff(changed.image[20, :, 0].astype(float)).mean())  # sign: flipped, size: 1 / scale
    flipped = np.array(slopes) < 0
    assert 0.4 < flipped.mean() < 0.6
    assert abs(np.corrcoef(flipped, np.abs(slopes))[0, 1]) < 0.15


def test_scales_fill_their_range() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (200, 200))
    sample = Sample("ramp", np.repeat(ramp[..., None], 3, axis=2), ramp)
    transform = training_transform((40, 40), scale=(0.5, 2), flip=0)
    masks = [transform(sample, (index,)).mask.astype(float) for index in range(200)]
    scales = np.array([39 / (mask[0, -1] - mask[0, 0]) for mask in masks])
    assert scales.min() < 0.6
    assert scales.max() > 1.9
    assert 1.1 < scales.mean() < 1.4  # uniform


@pytest.mark.parametrize("rotate", [0, 30])
def test_labels_are_never_mixed(rotate: float) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 9, 20], np.uint8), (60, 80))
    sample = Sample("noise", np.zeros((60, 80, 3), np.uint8), mask)
    transform = training_transform((50, 50), rotate=rotate)
    assert all({*np.unique(transform(sample, (index,)).mask)} <= {0, 9, 20, 255} for index in range(10))


def jittered(image, jitter: str) -> Sample:
    sample = Sample("colours", image, np.zeros(image.shape[:2], np.uint8))
    return training_transform(image.shape[:2], scale=(1, 1), flip=0, **{jitter: 0.4})(sample, (1,))


@pytest.mark.parametrize("jitter", ["brightness", "contrast", "saturation", "hue"])
def test_colours_are_changed_where_asked_and_never_the_mask(jitter: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert (jittered(image, jitter).image != image).mean() > 0.2
    assert not jittered(image, jitter).mask.any()


def test_without_jitter_scale_and_flip_a_picture_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sample = Sample("noise", image, image[..., 0])
    still = training_transform((64, 64), scale=(1, 1), flip=0)(sample, (0,))
    assert (still.image == sample.image).all()
    assert (still.mask == sample.mask).all()


def test_saturation_and_hue_leave_grey_alone_and_hue_the_range_of_a_pure_colour() -> None:
    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    red = np.broadcast_to(np.array([255, 0, 0], np.uint8), (8, 8, 3)).copy()
    assert (jittered(grey, "saturation").image == grey).all()
    assert (jittered(grey, "hue").image == grey).all()
    assert (jittered(red, "hue").image.max(axis=2) == 255).all()
    assert (jittered(red, "hue").image.min(axis=2) == 0).all()
