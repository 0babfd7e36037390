"""VOC's average precision: worked by hand in both conventions, and against plain loops over random detections."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbseg.data.detection_samples import Annotation
from mbseg.errors import DataError
from mbseg.metrics.box_records import recorded
from mbseg.metrics.voc_ap import voc_ap

CLASSES = ("cat", "dog")
NO_BOXES = np.zeros((0, 4))


def objects(image_id: int, boxes, labels=None, difficult=None, crowd=None) -> Annotation:
    """Boxes are x, y, width, height."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    none = np.zeros(len(boxes), np.bool_)
    return Annotation(
        file=Path("a.xml"),
        image=Path("a.jpg"),
        image_id=image_id,
        size=None,
        boxes=boxes,
        labels=np.asarray(none if labels is None else labels, np.int64),
        areas=boxes[:, 2] * boxes[:, 3],
        difficult=none if difficult is None else np.asarray(difficult, np.bool_),
        crowd=none if crowd is None else np.asarray(crowd, np.bool_),
    )


def scores(*pictures):
    """Of pictures (annotation, boxes xyxy, scores, labels)."""
    arrays = [(annotation, *(np.asarray(part) for part in found)) for annotation, *found in pictures]
    return voc_ap([recorded(*picture, len(CLASSES)) for picture in arrays], CLASSES)


def test_a_curve_with_a_false_alarm_a_second_hit_and_a_difficult_object() -> None:
    """The best first: hit, false alarm, hit, difficult (ignored), second hit: precision 1, 1/2, 2/3, 2/4."""
    found = scores(
        (objects(1, [[0, 0, 10, 10]]), [[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 9]], [0.9, 0.8, 0.5], [0, 0, 0]),
        (
            objects(2, [[0, 0, 10, 10], [20, 20, 10, 10]], difficult=[0, 1]),
            [[0, 0, 10, 8], [20, 20, 30, 30]],
            [0.7, 0.6],
            [0, 0],
        ),
    )
    assert found["voc_map"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert found["voc07_map"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)  # recalls 0 to 0.5, and 0.6 to 1
    assert found["voc_per_class"] == {"cat": found["voc_map"]}
    assert found["voc07_per_class"] == {"cat": found["voc07_map"]}


def test_a_difficult_object_is_ignored_however_often_it_is_found() -> None:
    truth = objects(1, [[0, 0, 10, 10], [20, 20, 10, 10]], difficult=[0, 1])
    found = scores((truth, [[20, 20, 30, 30], [20, 20, 30, 29], [0, 0, 10, 10]], [0.9, 0.8, 0.7], [0, 0, 0]))
    assert found["voc_map"] == found["voc07_map"] == 1


def test_a_crowd_is_to_voc_what_a_difficult_object_is() -> None:
    boxes, guesses = [[0, 0, 10, 10], [20, 20, 10, 10]], [[20, 20, 30, 30], [20, 20, 30, 29], [0, 0, 10, 10]]
    found = scores((objects(1, boxes, crowd=[0, 1]), guesses, [0.9, 0.8, 0.7], [0, 0, 0]))
    assert found["voc_map"] == found["voc07_map"] == 1
    with pytest.raises(DataError, match="only difficult ones and crowds: there is nothing to detect"):
        scores((objects(1, boxes, difficult=[1, 0], crowd=[0, 1]), guesses, [0.9, 0.8, 0.7], [0, 0, 0]))


@pytest.mark.parametrize("number", range(11))
def test_three_six_and_seven_objects_of_ten_miss_the_recall_that_is_a_multiple_of_a_tenth_in_doubles(
    number: int,
) -> None:
    """As in the development kit, where 0.1 * 3 > 3 / 10."""
    boxes = np.array([[20 * place, 0, 10, 10] for place in range(10)])
    perfect = objects(1, boxes).xyxy[:number]
    found = scores((objects(1, boxes), perfect, np.arange(number, 0, -1), np.zeros(number, int)))
    points = number + 1 - (number in (3, 6, 7)) if number else 0
    assert found["voc07_map"] == pytest.approx(points / 11)
    assert found["voc_map"] == pytest.approx(number / 10)


def test_the_precision_of_a_higher_recall_counts_for_the_lower_ones() -> None:
    """False alarm, hit, hit: precision 0, 1/2, 2/3 at recalls 0, 1/2, 1."""
    truth = objects(1, [[0, 0, 10, 10], [20, 0, 10, 10]])
    found = scores((truth, [[50, 0, 60, 10], [0, 0, 10, 10], [20, 0, 30, 10]], [3, 2, 1], [0, 0, 0]))
    assert [found["voc_map"], found["voc07_map"]] == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize(("bottom", "expected"), [(5, 1), (4.99, 0)])
def test_half_an_overlap_is_enough(bottom: float, expected: int) -> None:
    assert scores((objects(1, [[0, 0, 10, 10]]), [[0, 0, 10, bottom]], [1.0], [0]))["voc_map"] == expected


def test_a_detection_that_overlaps_a_taken_object_most_is_not_passed_on_to_the_next() -> None:
    truth = objects(1, [[0, 0, 10, 10], [0, 0, 10, 16]])
    found = scores((truth, [[0, 0, 10, 10], [0, 0, 10, 11]], [0.9, 0.8], [0, 0]))  # 11 / 16 of the second
    assert found["voc_map"] == pytest.approx(1 / 2)


def test_the_mean_runs_over_the_classes_that_occur_and_a_class_finds_only_its_own() -> None:
    truth = objects(1, [[0, 0, 10, 10], [20, 0, 10, 10]], labels=[0, 1])
    found = scores((truth, [[0, 0, 10, 10], [20, 0, 30, 10]], [0.9, 0.8], [0, 0]))
    assert found["voc_per_class"] == {"cat": 1, "dog": 0}
    assert found["voc_map"] == 1 / 2


def test_nothing_found_is_zero_and_nothing_to_find_is_refused() -> None:
    assert scores((objects(1, [[0, 0, 10, 10]]), NO_BOXES, [], []))["voc_map"] == 0
    with pytest.raises(DataError, match="nothing to detect"):
        scores((objects(1, [[0, 0, 10, 10]], difficult=[1]), [[0, 0, 10, 10]], [1.0], [0]))
    with pytest.raises(DataError, match="nothing to detect"):
        scores()


def test_what_is_not_finite_is_left_out() -> None:
    boxes = [[0, 0, 10, np.nan], [0, 0, 10, 10], [0, 0, np.inf, 10], [0, 0, 10, 10]]
    found = scores((objects(1, [[0, 0, 10, 10]]), boxes, [3, np.nan, 2, 1], [0, 0, 0, 0]))
    assert found["voc_map"] == 1


def test_a_label_of_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="label 2; the 2 classes are 0 to 1"):
        scores((objects(1, [[0, 0, 10, 10]]), [[0, 0, 10, 10]], [1.0], [2]))


def test_numbers_of_boxes_and_scores_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="1 boxes, 2 scores and 1 labels"):
        scores((objects(1, [[0, 0, 10, 10]]), [[0, 0, 10, 10]], [1.0, 0.5], [0]))


@st.composite
def pictures(draw):
    """A few pictures of boxes on a coarse grid, so that overlaps and scores often tie."""
    found = []
    for image_id in range(draw(st.integers(1, 4))):
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        truth, boxes = (
            np.column_stack([rng.integers(0, 6, (n, 2)), rng.integers(2, 6, (n, 2))]) for n in rng.integers(0, 8, 2)
        )
        difficult, crowd = (rng.random(len(truth)) < share for share in (0.2, 0.2))
        annotation = objects(image_id, truth, rng.integers(0, 2, len(truth)), difficult, crowd)
        boxes[:, 2:] += boxes[:, :2]
        found.append((annotation, boxes, rng.integers(0, 10, len(boxes)) / 10, rng.integers(0, 2, len(boxes))))
    return found


def by_loops(found, label: int) -> tuple[float, float] | None:
    """(area, 11 points) of one class, one detection at a time; None without objects."""
    rows = [(-mark, number, box) for number, (_, boxes, marks, kinds) in enumerate(found)
            for box, mark, kind in zip(boxes.tolist(), marks, kinds, strict=True) if kind == label]  # fmt: skip
    taken, curve, hits, alarms = set(), [], 0, 0
    for _, number, box in sorted(rows, key=lambda row: row[:2]):
        truth = found[number][0]
        overlaps = [
            (overlap(box, other), -place)
            for place, other in enumerate(truth.xyxy.tolist())
            if truth.labels[place] == label
        ]
        best, place = max(overlaps, default=(0, 0))
        if best >= 0.5 and (truth.difficult | truth.crowd)[-place]:
            continue
        hit = best >= 0.5 and (number, place) not in taken
        taken |= {(number, place)} if hit else set()
        hits, alarms = hits + hit, alarms + (not hit)
        curve.append((hits, hits / (hits + alarms)))
    total = sum(int(((truth.labels == label) & ~truth.difficult & ~truth.crowd).sum()) for truth, *_ in found)
    if not total:
        return None
    best_from = [max([p for h, p in curve if h >= needed], default=0) for needed in range(1, total + 1)]
    points = [max([p for h, p in curve if h / total >= 0.1 * k], default=0) for k in range(11)]
    return sum(best_from) / total, sum(points) / 11


def overlap(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


@settings(max_examples=30)
@given(pictures())
def test_a_region_with_a_crowd_in_it_changes_nothing(found) -> None:
    if not any(by_loops(found, label) for label in range(len(CLASSES))):
        return
    crowded = [(with_crowds(annotation), *rest) for annotation, *rest in found]
    assert scores(*crowded) == scores(*found)


def with_crowds(annotation: Annotation) -> Annotation:
    """With a region of each class, of which no box on the grid covers a half."""
    region = [0, 0, 30, 30]
    return objects(
        annotation.image_id,
        [*annotation.boxes, region, region],
        [*annotation.labels, 0, 1],
        [*annotation.difficult, False, False],
        [*annotation.crowd, True, True],
    )


@settings(max_examples=60)
@given(pictures())
def test_scores_equal_those_of_plain_loops_in_whatever_order_the_pictures_come(found) -> None:
    expected = {name: both for label, name in enumerate(CLASSES) if (both := by_loops(found, label))}
    if not expected:
        return
    scored = scores(*reversed(found))
    assert scored["voc_per_class"] == pytest.approx({name: both[0] for name, both in expected.items()})
    assert scored["voc07_per_class"] == pytest.approx({name: both[1] for name, both in expected.items()})
    assert scored["voc_map"] == pytest.approx(np.mean([both[0] for both in expected.values()]))
    assert scored["voc07_map"] == pytest.approx(np.mean([both[1] for both in expected.values()]))
