"""Boxes: geometry, default boxes, coding, matching and selection, against oracles that count or go one by one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from mbseg.boxes import postprocess as module
from mbseg.boxes.coding import decode, encode
from mbseg.boxes.default_boxes import DefaultBoxPlan, box_shapes, default_boxes
from mbseg.boxes.detections import Detections, Objects, RawDetections
from mbseg.boxes.geometry import areas, clip, cxcywh_to_xyxy, iou, rescale, xyxy_to_cxcywh
from mbseg.boxes.matching import UNMATCHED, hard_negatives, match
from mbseg.boxes.postprocess import Selection, postprocess, ranks_in_class, select
from mbseg.tasks.detection_losses import DetectionLoss, DetectionLossOptions

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(16, 700)
PLANS = st.sampled_from(["standard", "torchvision"])
GRIDS = [(6, 9), (3, 5), (2, 3), (1, 2), (1, 1)]
BOXES = default_boxes(GRIDS, (96, 144))
BROKEN = [
    (10.0, 10.0, 10.0, 40.0),  # no width
    (50.0, 50.0, 20.0, 20.0),  # swapped
    (math.nan, 0.0, 30.0, 30.0),
    (-math.inf, 0.0, math.inf, 30.0),
    (500.0, 500.0, 600.0, 600.0),  # outside
]

quickly = settings(max_examples=40)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_boxes(count: int, seed: int, *, whole: bool = False) -> Tensor:
    """xyxy with an area, mostly within 144 x 96 pixels; `whole`: of whole pixels."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([100.0, 60.0])
    boxes = torch.cat([corners, corners + 1 + 45 * torch.rand(count, 2, generator=generator)], dim=1)
    return boxes.round() if whole else boxes


@quickly
@given(seed=SEEDS, count=st.integers(0, 6), others=st.integers(0, 6))
def test_iou_counts_pixels(seed: int, count: int, others: int) -> None:
    left, right = random_boxes(count, seed, whole=True), random_boxes(others, seed + 1, whole=True)
    overlaps = iou(left, right)
    assert overlaps.shape == (count, others)
    for row, box in zip(overlaps, left, strict=True):
        for overlap, other in zip(row, right, strict=True):
            both, either = painted(box) & painted(other), painted(box) | painted(other)
            assert overlap.item() == pytest.approx((both.sum() / either.sum()).item())


def painted(box: Tensor) -> Tensor:
    left, top, right, bottom = box.int().tolist()
    canvas = torch.zeros(160, 160, dtype=torch.bool)
    canvas[top:bottom, left:right] = True
    return canvas


def test_iou_equals_torchvisions_and_is_0_where_it_is_not_defined() -> None:
    boxes, broken = random_boxes(30, 1), torch.tensor(BROKEN)
    torch.testing.assert_close(iou(boxes, BOXES), box_iou(boxes, BOXES))
    torch.testing.assert_close(iou(boxes, boxes).diagonal(), torch.ones(30))
    assert not iou(broken, torch.cat([BOXES, broken[:4]])).any()


@quickly
@given(seed=SEEDS, size=st.tuples(SIDES, SIDES), new_size=st.tuples(SIDES, SIDES))
def test_clipping_and_rescaling_keep_boxes_in_the_picture(seed, size, new_size) -> None:
    boxes = 400 * noise(20, 4, seed=seed)
    inside = clip(boxes, size)
    moved = rescale(inside, size, new_size)
    for one, (height, width) in ((inside, size), (moved, new_size)):
        assert one.min() >= 0
        assert (one <= torch.tensor([width, height, width, height]) * (1 + 1e-6)).all()
    torch.testing.assert_close(rescale(moved, new_size, size), inside)
    assert torch.equal(clip(inside, size), inside)
    untouched = (boxes >= 0).all(1) & (boxes <= torch.tensor([size[1], size[0]] * 2)).all(1)
    assert torch.equal(inside[untouched], boxes[untouched])


@quickly
@given(seed=SEEDS)
def test_both_forms_of_a_box_and_its_offsets_lead_back_to_it(seed: int) -> None:
    boxes = random_boxes(len(BOXES), seed)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)
    torch.testing.assert_close(decode(encode(boxes, BOXES), BOXES), boxes, rtol=1e-4, atol=1e-3)
    assert not encode(BOXES, BOXES).abs().gt(1e-4).any()


def test_offsets_move_by_variances_of_the_default_box() -> None:
    """A tenth of the width to the right, and e ** 0.2 as high."""
    moved = decode(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), torch.tensor([[0.0, 0.0, 20.0, 10.0]]))
    torch.testing.assert_close(xyxy_to_cxcywh(moved), torch.tensor([[12.0, 5.0, 20.0, 10 * math.exp(0.2)]]))


@quickly
@given(size=st.tuples(SIDES, SIDES), plan=PLANS)
def test_default_boxes_cover_every_cell_and_mirror_into_themselves(size, plan: DefaultBoxPlan) -> None:
    boxes = default_boxes(GRIDS, size, plan)
    shapes = box_shapes(len(GRIDS), plan)
    cells = [rows * columns for rows, columns in GRIDS]
    assert len(boxes) == sum(count * len(of_map) for count, of_map in zip(cells, shapes, strict=True))
    centers = xyxy_to_cxcywh(boxes)[:, :2]
    assert (centers > 0).all() and (centers < torch.tensor([size[1], size[0]])).all()
    mirrored = torch.stack([size[1] - boxes[:, 2], boxes[:, 1], size[1] - boxes[:, 0], boxes[:, 3]], dim=1)
    nearest = iou(mirrored, boxes).amax(1)
    torch.testing.assert_close(nearest, torch.ones_like(nearest), rtol=0, atol=1e-3)


def test_the_standard_boxes_are_those_of_the_papers() -> None:
    """Three on the first of six maps, six on every other; 1917 at 300 x 300, as in TensorFlow's graphs."""
    sides = [19, 10, 5, 3, 2, 1]
    boxes = default_boxes([(side, side) for side in sides], (300, 300))
    assert len(boxes) == 1917
    sizes = xyxy_to_cxcywh(boxes)[:, 2:] / 300
    first = [(0.1, 0.1), (0.2 * 2**0.5, 0.2 / 2**0.5), (0.2 / 2**0.5, 0.2 * 2**0.5)]
    torch.testing.assert_close(sizes[:3], torch.tensor(first))
    last = [(0.95 * ratio**0.5, 0.95 / ratio**0.5) for ratio in (1, 2, 1 / 2, 3, 1 / 3)]
    torch.testing.assert_close(sizes[-6:], torch.tensor([*last, (0.95**0.5, 0.95**0.5)]))


@given(size=st.tuples(SIDES, SIDES))
@quickly
def test_the_standard_boxes_keep_their_ratios_in_a_picture_that_is_not_square(size) -> None:
    boxes = xyxy_to_cxcywh(default_boxes(GRIDS, size))
    ratios = {round(ratio, 2) for ratio in (boxes[:, 2] / boxes[:, 3]).tolist()}
    assert ratios == {1.0, 2.0, 0.5, 3.0, 0.33}
    squares = boxes[(boxes[:, 2] / boxes[:, 3] - 1).abs() < 1e-3, 2]
    assert squares.min().item() == pytest.approx(0.1 * min(size), rel=1e-3)


@quickly
@given(seed=SEEDS, count=st.integers(0, 30), broken=st.integers(0, len(BROKEN)), threshold=st.floats(0.2, 0.8))
def test_every_sound_object_has_the_box_that_overlaps_it_most(seed, count, broken, threshold) -> None:
    boxes = torch.cat([random_boxes(count, seed), torch.tensor(BROKEN[:broken]).reshape(-1, 4)])
    matches = match(boxes, BOXES, iou_threshold=threshold)
    assert matches.shape == (len(BOXES),)
    assert (matches < count).all()  # none of the broken ones
    overlaps = box_iou(boxes[:count], BOXES)
    for index, row in enumerate(overlaps):
        assert matches[row.argmax()] >= index  # its own, or of a later object that wants the same box
    claimed = {int(row.argmax()) for row in overlaps}
    for box, index in enumerate(matches.tolist()):
        if box not in claimed:
            above = count > 0 and overlaps[:, box].max() >= threshold
            assert index == (overlaps[:, box].argmax().item() if above else UNMATCHED)


@quickly
@given(seed=SEEDS, ratio=st.floats(0, 5), at_least=st.integers(0, 30), share=st.floats(0, 1))
def test_hard_negatives_are_the_worst_of_the_background(seed, ratio, at_least, share) -> None:
    losses = noise(3, 40, seed=seed).abs()
    positives = torch.rand(3, 40, generator=torch.Generator().manual_seed(seed)) < share
    negatives = hard_negatives(losses, positives, ratio=ratio, at_least=at_least)
    assert not (negatives & positives).any()
    for loss, positive, chosen in zip(losses, positives, negatives, strict=True):
        wanted = math.ceil(max(at_least, torch.tensor(ratio * int(positive.sum()), dtype=torch.float32).item()))
        assert chosen.sum() == min(wanted, (~positive).sum())
        left = loss[~positive & ~chosen]
        assert not len(left) or not chosen.any() or loss[chosen].min() >= left.max()


def one_by_one(boxes: Tensor, probabilities: Tensor, selection: Selection) -> list[tuple[float, int, int]]:
    """(score, label, box) of greedy suppression, class by class, the most probable first."""
    found = []
    for label, scores in enumerate(probabilities.T):
        ranked = sorted((-score, box) for box, score in enumerate(scores.tolist()) if score > selection.score_threshold)
        kept: list[int] = []
        for score, box in ranked[: selection.candidates]:
            if not kept or box_iou(boxes[[box]], boxes[kept]).max() <= selection.iou_threshold:
                kept.append(box)
                found.append((-score, label, box))
    return sorted(found, reverse=True)[: selection.detections]


@quickly
@given(
    seed=SEEDS,
    classes=st.integers(1, 4),
    detections=st.integers(1, 40),
    candidates=st.integers(1, 60),
    iou_threshold=st.floats(0.1, 0.9),
    score_threshold=st.floats(0, 0.9),
)
def test_selection_equals_suppression_one_by_one(
    seed, classes, detections, candidates, iou_threshold, score_threshold
) -> None:
    boxes, probabilities = random_boxes(60, seed), noise(60, classes, seed=seed).sigmoid()
    selection = Selection(score_threshold, iou_threshold, candidates, detections)
    found = select(boxes, probabilities, selection)
    expected = one_by_one(boxes, probabilities, selection)
    assert found.labels.tolist() == [label for _, label, _ in expected]
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in expected]).reshape(-1))
    assert torch.equal(found.boxes, boxes[[box for _, _, box in expected]])


@pytest.mark.parametrize("first_round", [1, 4, 10**6])
def test_looking_at_all_candidates_at_once_changes_nothing(first_round: int, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, probabilities = decode(noise(len(BOXES), 4, seed=1), BOXES), noise(len(BOXES), 5, seed=2).sigmoid()
    expected = select(boxes, probabilities, Selection(detections=60))
    monkeypatch.setattr(module, "FIRST_ROUND", first_round)
    found = select(boxes, probabilities, Selection(detections=60))
    assert torch.equal(found.scores, expected.scores) and torch.equal(found.boxes, expected.boxes)


@given(labels=st.lists(st.integers(0, 4), max_size=30))
def test_ranks_count_those_of_the_same_class_before(labels: list[int]) -> None:
    ranks = ranks_in_class(torch.tensor(labels, dtype=torch.int64))
    assert ranks.tolist() == [labels[:index].count(label) for index, label in enumerate(labels)]


@quickly
@given(seed=SEEDS, value=st.sampled_from([math.nan, math.inf, -math.inf]), where=st.sampled_from(["class", "box"]))
def test_predictions_that_are_not_finite_are_dropped_and_disturb_no_other(seed, value, where) -> None:
    logits, offsets = 3 * noise(1, len(BOXES), 4, seed=seed), noise(1, len(BOXES), 4, seed=seed + 1)
    hit = torch.rand(len(BOXES), generator=torch.Generator().manual_seed(seed)) < 0.3
    silenced = logits.clone()
    silenced[:, hit] = torch.tensor([100.0, 0, 0, 0])
    expected = found_in(silenced, offsets)
    if where == "class":
        logits[:, hit, 0] = value if value != -math.inf else math.nan
    else:
        offsets[:, hit, 1] = value
    found = found_in(logits, offsets)
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.boxes, expected.boxes)


def found_in(logits: Tensor, offsets: Tensor) -> Detections:
    (found,) = postprocess(RawDetections(logits, offsets), BOXES, image_size=(96, 144), picture_sizes=[(50, 60)])
    assert areas(found.boxes).min() > 0 and found.boxes.max() <= 60
    return found


def test_no_prediction_above_the_threshold_gives_no_detections() -> None:
    raw = RawDetections(torch.zeros(2, len(BOXES), 3), torch.zeros(2, len(BOXES), 4))
    found = postprocess(
        raw, BOXES, image_size=(96, 144), picture_sizes=[(50, 60)] * 2, selection=Selection(score_threshold=0.5)
    )
    assert [(one.boxes.shape, one.scores.shape, one.labels.dtype) for one in found] == [((0, 4), (0,), torch.int64)] * 2


@quickly
@given(
    seed=SEEDS,
    counts=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    broken=st.integers(0, len(BROKEN)),
    scores=st.sampled_from(["softmax", "sigmoid"]),
    classification=st.sampled_from(["cross_entropy", "focal"]),
    least_negatives=st.integers(0, 5),
)
def test_losses_and_their_gradients_are_finite_whatever_the_objects(
    seed, counts, broken, scores, classification, least_negatives
) -> None:
    boxes = [torch.cat([random_boxes(count, seed), torch.tensor(BROKEN[:broken]).reshape(-1, 4)]) for count in counts]
    objects = [Objects(one, torch.zeros(len(one), dtype=torch.int64)) for one in boxes]
    logits = noise(len(counts), len(BOXES), 3, seed=seed).requires_grad_()
    offsets = noise(len(counts), len(BOXES), 4, seed=seed).requires_grad_()
    options = DetectionLossOptions(classification, least_negatives=least_negatives)
    losses = DetectionLoss(options, scores=scores)(RawDetections(logits, offsets), BOXES, objects)
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert offsets.grad is not None and offsets.grad.isfinite().all()
    if not any(counts):
        assert not offsets.grad.any()
