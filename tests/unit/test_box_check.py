"""Faulty boxes: kept, cut or dropped, and named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mbseg.data.box_check import FATE, box_faults, check_boxes, report_boxes
from mbseg.data.detection_samples import Annotation

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("box", "problem", "left"),
    [
        ([0, 0, 40, 30], "", [0, 0, 40, 30]),
        ([-0.5, 3, 40.9, 30], "", [0, 3, 40, 30]),  # rounded numbers
        ([-9, 5, 8, 99], "partly outside the picture", [0, 5, 8, 30]),
        ([50, 5, 60, 9], "outside the picture", None),
        ([40, 5, 60, 9], "outside the picture", None),
        ([3, 5, 3, 9], "thinner than a pixel", None),
        ([3, 5, 3.5, 9], "thinner than a pixel", None),
        ([39.5, 5, 60, 9], "thinner than a pixel", None),  # inside the picture
        ([8, 5, 3, 9], "swapped", None),
        ([3, NAN, 8, 9], "not finite", None),
        ([-INF, 5, INF, 9], "not finite", None),
        ([-1e300, 5, 1e308, 9], "partly outside the picture", [0, 5, 40, 9]),
    ],
)
def test_a_box_is_kept_cut_or_dropped(box, problem: str, left) -> None:
    boxes, kept, problems = check_boxes(np.array([box], np.float64), (30, 40))
    assert problems == (problem,)
    assert kept.tolist() == [left is not None]
    assert boxes.tolist() == ([left] if left else [])
    assert problem in {"", *FATE}


@given(arrays.arrays(np.float64, st.tuples(st.integers(0, 5), st.just(4))), st.integers(1, 99), st.integers(1, 99))
def test_what_is_kept_of_any_boxes_lies_inside_and_is_a_pixel_wide(boxes, height: int, width: int) -> None:
    kept, flags, problems = check_boxes(boxes, (height, width))
    assert len(flags) == len(problems) == len(boxes)
    assert (kept >= 0).all() and (kept <= (width, height, width, height)).all()
    assert (kept[:, 2:] - kept[:, :2] >= 1).all()
    assert all(problem for problem, stays in zip(problems, flags, strict=True) if not stays)


def annotated(*boxes: tuple[int, ...]) -> Annotation:
    """Boxes xyxy of class 1."""
    corners = np.array(boxes, np.float64)
    sides = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    labels, none = np.ones(len(boxes), np.int64), np.zeros(len(boxes), np.bool_)
    return Annotation(Path("a.xml"), Path("a.jpg"), 0, None, sides, labels, sides[:, 2] * sides[:, 3], none, none)


def test_a_report_counts_the_problems_and_each_box_is_named() -> None:
    annotation = annotated((0, 1, 30, 40), (8, 1, 3, 4), (0, 1, 99, 9))
    report = report_boxes([check_boxes(annotation.xyxy, (40, 50))] * 2)
    assert str(report) == "6 boxes: 2 dropped (swapped), 2 cut (partly outside the picture)"
    assert str(report_boxes([])) == "0 boxes"
    assert box_faults(annotation, (40, 50), ("cat", "dog")) == [
        "box 2 (dog) [8, 1, 3, 4] is swapped: dropped",
        "box 3 (dog) [0, 1, 99, 9] is partly outside the picture: cut",
    ]
