"""Boundary IoU against masks of one class at a time, eroded by scipy."""

import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from torch import distributed

from mbseg.data.samples import Batch
from mbseg.errors import DataError
from mbseg.metrics.boundary import BoundaryCounts, band_width, bands
from mbseg.metrics.confusion import ConfusionMatrix
from mbseg.tasks.segmentation import SegmentationMetric

NAMES = ("sky", "road", "car", "tree")
CLASSES = st.integers(0, 3)
SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))  # bands one to four pixels wide


@st.composite
def maps(draw, size, elements=CLASSES):
    """A class map of blocks, some of them a pixel small, some as large as the picture."""
    height, width = size
    side = st.integers(1, 6)
    block = draw(arrays.arrays(np.uint8, st.tuples(side, side), elements=elements))
    spots = draw(arrays.arrays(np.uint8, st.just((3,)), elements=elements))
    labels = block[np.arange(height) * len(block) // height][:, np.arange(width) * block.shape[1] // width]
    labels.flat[[draw(st.integers(0, labels.size - 1)) for _ in spots]] = spots
    return labels


@st.composite
def pairs(draw):
    """A prediction and its truth, some pixels of it ignored; at least one pixel labelled."""
    size = draw(SIZES)
    predicted, target = draw(maps(size)), draw(maps(size, CLASSES | st.just(255)))
    target.flat[draw(st.integers(0, target.size - 1))] = draw(CLASSES)
    return predicted, target


def counted(masks):
    counts = BoundaryCounts(NAMES)
    for predicted, target in masks:
        counts.update(predicted, target)
    return counts


def band_of(mask):
    """The paper's: the mask without what is left of it after eroding it d times, nothing lying around the picture."""
    distance = max(1, round(0.02 * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


def naive_scores(masks):
    """Boundary IoU of each class that occurs."""
    scores = {}
    for label, name in enumerate(NAMES):
        both = either = 0
        for predicted, target in masks:
            truth = band_of(target == label)
            found = band_of((predicted == label) & (target != 255))
            both, either = both + (truth & found).sum(), either + (truth | found).sum()
        if any((target == label).any() for _, target in masks):
            scores[name] = both / either
    return scores


@settings(deadline=None)
@given(st.lists(pairs(), min_size=1, max_size=3))
def test_scores_equal_those_of_classes_eroded_one_by_one(masks):
    expected = naive_scores(masks)
    scores = counted(masks).compute()
    assert scores["per_class_boundary_iou"] == expected
    assert scores["boundary_iou"] == pytest.approx(sum(expected.values()) / len(expected))


@settings(deadline=None)
@given(SIZES.flatmap(maps))
def test_the_bands_of_all_classes_are_found_at_once(labels):
    expected = np.full_like(labels, 255)
    for label in range(4):
        expected[band_of(labels == label)] = label
    np.testing.assert_array_equal(bands(labels), expected)


@settings(deadline=None)
@given(pairs(), CLASSES)
def test_what_is_predicted_on_ignored_pixels_does_not_matter(masks, anything):
    _, target = masks
    right = np.where(target == 255, anything, target).astype(np.uint8)
    assert counted([(right, target)]).compute()["boundary_iou"] == 1


@settings(deadline=None)
@given(st.lists(pairs(), max_size=2), st.lists(pairs(), max_size=2))
def test_counts_of_two_parts_add_up(first, second):
    np.testing.assert_array_equal(counted(first + second).counts, counted(first).counts + counted(second).counts)


def disc(*, shift=0, border=0):
    """A disc of class 1 in front of class 0, and around it `border` ignored pixels."""
    rows, columns = np.mgrid[:240, :320]
    distance = np.hypot(rows - 120, columns - 160 - shift)
    labels = (distance < 80).astype(np.uint8)
    labels[abs(distance - 80) < border / 2] = 255
    return labels


@pytest.mark.parametrize("border", [0, 5])
def test_a_shifted_outline_costs_more_than_it_costs_miou(border):
    previous = 1.0
    for shift in (4, 8, 12):
        masks = disc(shift=shift), disc(border=border)
        matrix = ConfusionMatrix(2)
        matrix.update(*masks)
        boundary_iou = counted([masks]).compute()["boundary_iou"]
        assert 1 - boundary_iou > 2 * (1 - matrix.compute()["miou"])
        assert boundary_iou < previous
        previous = boundary_iou


def test_a_class_that_only_meets_ignored_pixels_has_an_outline():
    """As most objects of VOC do."""
    labels = np.zeros((240, 320), np.uint8)
    labels[60:180, 80:240] = 255
    labels[65:175, 85:235] = 1
    expected = np.zeros_like(labels, bool)
    expected[65:175, 85:235] = True
    expected[73:167, 93:227] = False
    np.testing.assert_array_equal(bands(labels) == 1, expected)


@pytest.mark.parametrize(
    ("size", "width"),
    [((1, 1), 1), ((360, 480), 12), ((375, 500), 12), ((513, 513), 15), ((1024, 2048), 46)],  # 375 x 500: of 12.5
)
def test_bands_are_two_percent_of_the_diagonal_wide(size, width):
    assert band_width(*size) == width
    assert (bands(np.zeros(size, np.uint8)) == 0)[size[0] // 2].sum() == min(2 * width, size[1])


def test_a_batch_of_tensors_counts_like_its_pictures():
    predicted, target = np.random.default_rng(0).integers(0, 4, (2, 3, 90, 81), np.uint8)
    counts = BoundaryCounts(NAMES)
    counts.update(torch.from_numpy(predicted), torch.from_numpy(target))
    np.testing.assert_array_equal(counts.counts, counted(zip(predicted, target, strict=True)).counts)


def test_counting_leaves_the_masks_as_they_were():
    masks = disc(shift=3), disc(border=5)
    before = [labels.copy() for labels in masks]
    counted([masks])
    np.testing.assert_array_equal(masks, before)


def test_a_split_without_labels_has_no_boundary_iou():
    counts = counted([(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))])
    with pytest.raises(DataError, match="no labelled pixel in the split"):
        counts.compute()


def score_one_part(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    metric = SegmentationMetric(("background", "disc"))
    count(metric, shift=10 * rank)
    metric.merge()
    torch.save(metric.compute(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def count(metric: SegmentationMetric, *, shift: int) -> None:
    masks = torch.from_numpy(disc())[None]
    metric.update(torch.from_numpy(disc(shift=shift))[None], Batch(["a disc"], torch.zeros(1, 3, 240, 320), masks))


def test_two_processes_score_like_one(tmp_path):
    processes = [
        multiprocessing.get_context("spawn").Process(target=score_one_part, args=(rank, tmp_path)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    whole = SegmentationMetric(("background", "disc"))
    count(whole, shift=0)
    count(whole, shift=10)
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt") == whole.compute()
