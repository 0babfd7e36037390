"""The confusion matrix against sets of pixels counted one class at a time."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import distributed

from mbseg.errors import ConfigError, DataError
from mbseg.metrics.confusion import ConfusionMatrix

NAMES = ("sky", "road", "car", "tree")
SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, max_side=7)
PREDICTED = st.integers(0, 3)
TARGETS = st.integers(0, 3) | st.just(255)


@st.composite
def splits(draw):
    """A few pairs of masks (predicted, target), at least one pixel labelled."""
    masks = []
    for shape in draw(st.lists(SHAPES, min_size=1, max_size=3)):
        predicted = draw(arrays.arrays(np.uint8, shape, elements=PREDICTED))
        masks.append((predicted, draw(arrays.arrays(np.uint8, shape, elements=TARGETS))))
    masks[0][1].flat[0] = draw(PREDICTED)
    return masks


def counted(masks):
    matrix = ConfusionMatrix(4, classes=NAMES)
    for predicted, target in masks:
        matrix.update(predicted, target)
    return matrix


def pixels(masks, label, side):
    """Where a class is predicted (side 0) or true (side 1), as a set, over the labelled pixels of the split."""
    return {
        (number, *place)
        for number, pair in enumerate(masks)
        for place in zip(*np.nonzero((pair[side] == label) & (pair[1] != 255)), strict=True)
    }


@settings(deadline=None)
@given(splits())
def test_scores_equal_those_of_sets_of_pixels(masks):
    scores = counted(masks).compute()
    predicted = [pixels(masks, label, 0) for label in range(4)]
    target = [pixels(masks, label, 1) for label in range(4)]
    expected = {
        name: len(predicted[label] & target[label]) / len(predicted[label] | target[label])
        for label, name in enumerate(NAMES)
        if target[label]
    }
    right = sum(len(predicted[label] & target[label]) for label in range(4))
    assert scores["per_class"] == pytest.approx(expected)
    assert scores["miou"] == pytest.approx(sum(expected.values()) / len(expected))
    assert scores["pixel_accuracy"] == pytest.approx(right / sum(map(len, target)))
    assert scores["absent"] == [name for name in NAMES if name not in expected]


@settings(deadline=None)
@given(splits(), splits())
def test_counts_of_two_parts_add_up(first, second):
    np.testing.assert_array_equal(counted(first + second).counts, counted(first).counts + counted(second).counts)


def test_rows_are_the_truth_and_columns_the_prediction():
    matrix = ConfusionMatrix(4, classes=NAMES)
    matrix.update(np.uint8([[2, 2, 0]]), np.uint8([[1, 1, 255]]))
    assert matrix.counts[1, 2] == 2 and matrix.counts.sum() == 2


def test_an_absent_class_that_is_predicted_costs_only_the_class_it_covers():
    matrix = ConfusionMatrix(4, classes=NAMES)
    matrix.update(np.uint8([[0, 0, 1, 3]]), np.uint8([[0, 0, 1, 1]]))
    scores = matrix.compute()
    assert scores["miou"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores["absent"] == ["car", "tree"]


def test_tensors_count_like_arrays():
    predicted, target = np.random.default_rng(0).integers(0, 4, (2, 3, 9, 8), np.uint8)
    matrix = ConfusionMatrix(4, classes=NAMES)
    matrix.update(torch.from_numpy(predicted), torch.from_numpy(target))
    np.testing.assert_array_equal(matrix.counts, counted([(predicted, target)]).counts)


def test_256_classes_are_counted_when_nothing_is_ignored():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    matrix = ConfusionMatrix(256, ignore_index=None)
    matrix.update(every, every)
    np.testing.assert_array_equal(matrix.counts, np.eye(256))


@pytest.mark.parametrize(
    ("predicted", "target", "named"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), r"\[2, 3\].*\[3, 2\]"),
        (np.zeros((2, 3), np.int64), np.zeros((2, 3), np.uint8), "int64"),
        (np.full((2, 3), 4, np.uint8), np.zeros((2, 3), np.uint8), "prediction has label 4"),
        (np.zeros((2, 3), np.uint8), np.full((2, 3), 254, np.uint8), "target has label 254"),
    ],
)
def test_masks_that_cannot_be_counted_are_refused_and_leave_no_trace(predicted, target, named):
    matrix = ConfusionMatrix(4, classes=NAMES)
    with pytest.raises(DataError, match=named):
        matrix.update(predicted, target)
    assert not matrix.counts.any()


def test_a_split_without_labels_has_no_score():
    matrix = ConfusionMatrix(4, classes=NAMES)
    matrix.update(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))
    with pytest.raises(DataError, match="no labelled pixel in the split"):
        matrix.compute()


def test_names_and_number_of_classes_must_agree():
    with pytest.raises(ConfigError, match="4 class names for 5 classes"):
        ConfusionMatrix(5, classes=NAMES)


def count_one_part(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    matrix = ConfusionMatrix(4, classes=NAMES)
    matrix.update(np.full((2, 2), rank, np.uint8), np.uint8([[0, 1], [2, 255]]))
    matrix.merge()
    np.save(folder / f"{rank}.npy", matrix.counts)
    distributed.destroy_process_group()


def test_merging_gives_every_process_the_whole_split(tmp_path):
    processes = [
        multiprocessing.get_context("spawn").Process(target=count_one_part, args=(rank, tmp_path)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    expected = np.zeros((4, 4), np.int64)
    expected[:3, :2] = 1
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(tmp_path / f"{rank}.npy"), expected)


def test_merging_in_one_process_changes_nothing():
    matrix = counted([(np.uint8([[0, 1]]), np.uint8([[0, 2]]))])
    before = matrix.counts.copy()
    matrix.merge()
    np.testing.assert_array_equal(matrix.counts, before)
