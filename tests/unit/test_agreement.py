"""How far two runs of a model agree."""

import numpy as np
import pytest
import torch

from mbseg.boxes.detections import Detections
from mbseg.runtime.agreement import Agreement, found_again
from mbseg.runtime.answers import Answer

BOXES = torch.tensor([[0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 300.0, 100.0], [0.0, 200.0, 100.0, 300.0]])


def detections(boxes: torch.Tensor = BOXES, scores: tuple[float, ...] = (0.9, 0.8, 0.7), label: int = 1) -> Detections:
    return Detections(boxes, torch.tensor(scores), torch.full((len(boxes),), label))


def test_equal_pixels_are_counted_over_all_pictures() -> None:
    small, large = np.zeros((10, 10), np.uint8), np.zeros((30, 10), np.uint8)
    other = large.copy()
    other[:3] = 7
    agreement = Agreement()
    agreement.add(Answer(mask=small), Answer(mask=small))
    agreement.add(Answer(mask=large), Answer(mask=other))
    assert agreement.shares == {"pixels": 1 - 30 / 400}


def test_boxes_are_found_again_whatever_their_order() -> None:
    assert found_again(detections(), detections(BOXES.flip(0))).all()


@pytest.mark.parametrize(("shift", "found"), [(4.0, True), (6.0, False)])
def test_a_box_is_found_again_where_the_iou_is_above_nine_tenths(shift: float, found: bool) -> None:
    moved = BOXES + torch.tensor([shift, 0, shift, 0])  # IoU (100 - shift) / (100 + shift): 0.923 and 0.887
    assert found_again(detections(), detections(moved)).tolist() == 3 * [found]


def test_a_box_of_another_class_is_another_one() -> None:
    assert not found_again(detections(), detections(label=2)).any()


def test_only_what_is_probable_is_asked_for() -> None:
    expected = detections(scores=(0.9, 0.5, 0.1))
    assert found_again(expected, detections(BOXES[:1], (0.9,))).tolist() == [True]


def test_where_nothing_is_probable_the_first_is_asked_for() -> None:
    assert found_again(detections(scores=(0.2, 0.1, 0.1)), detections(BOXES[1:], (0.2, 0.1))).tolist() == [False]


@pytest.mark.parametrize(("score", "asked_for"), [(0.51, []), (0.53, [False])])
def test_a_box_within_rounding_of_the_least_score_may_be_missing(score: float, asked_for: list[bool]) -> None:
    nothing = detections(torch.zeros(0, 4), ())
    assert found_again(detections(BOXES[:1], (score,)), nothing, least_score=0.5).tolist() == asked_for


def test_where_nothing_was_compared_there_is_no_share() -> None:
    agreement = Agreement()
    nothing = Answer(detections=detections(torch.zeros(0, 4), ()))
    agreement.add(nothing, nothing)
    assert agreement.shares == {}
