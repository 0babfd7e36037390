"""The losses of detection beside torchvision's parity: focal, sigmoid, what counts and how much."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mbseg.boxes.default_boxes import default_boxes
from mbseg.boxes.detections import Objects, RawDetections
from mbseg.tasks.detection_losses import DetectionLoss, DetectionLossOptions, assign

BOXES = default_boxes([(4, 4), (2, 2), (1, 1)], (64, 64))
OBJECTS = [
    Objects(torch.tensor([[2.0, 3, 30, 28], [30, 30, 62, 60]]), torch.tensor([0, 3])),
    Objects(torch.empty(0, 4), torch.empty(0, dtype=torch.int64)),
]
RAW = RawDetections(
    2 * torch.randn(2, len(BOXES), 5, generator=torch.Generator().manual_seed(1)),
    torch.randn(2, len(BOXES), 4, generator=torch.Generator().manual_seed(2)),
)
LABELS = assign(OBJECTS, BOXES, 0.5).labels
MATCHED = int((LABELS > 0).sum())
ONE_HOT = F.one_hot(LABELS, 5)[..., 1:].float()


def classification(scores: str = "softmax", **options: object) -> torch.Tensor:
    return DetectionLoss(DetectionLossOptions(**options), scores=scores)(RAW, BOXES, OBJECTS)["classification"]


def test_the_background_is_label_0_and_the_classes_follow() -> None:
    assert set(LABELS[0].tolist()) == {0, 1, 4}
    assert set(LABELS[1].tolist()) == {0}


def test_focal_loss_of_sigmoid_scores_is_torchvisions_over_the_objects_classes() -> None:
    expected = sigmoid_focal_loss(RAW.class_logits[..., 1:], ONE_HOT, alpha=0.25, gamma=2, reduction="sum") / MATCHED
    torch.testing.assert_close(classification("sigmoid", classification="focal"), expected)


def test_focal_loss_of_softmax_scores_without_its_focus_is_half_the_cross_entropy() -> None:
    expected = F.cross_entropy(RAW.class_logits.flatten(0, 1), LABELS.flatten(), reduction="sum") / MATCHED
    found = classification(classification="focal", focal_gamma=0, focal_alpha=0.5)
    torch.testing.assert_close(found, expected / 2)


def test_with_negatives_enough_sigmoid_cross_entropy_counts_every_box() -> None:
    expected = F.binary_cross_entropy_with_logits(RAW.class_logits[..., 1:], ONE_HOT, reduction="sum") / MATCHED
    torch.testing.assert_close(classification("sigmoid", least_negatives=1000), expected)


def test_a_picture_without_objects_teaches_only_with_least_negatives() -> None:
    empty = RawDetections(RAW.class_logits[1:], RAW.box_offsets[1:])
    taught = DetectionLoss(DetectionLossOptions(least_negatives=3))(empty, BOXES, OBJECTS[1:])
    losses = F.cross_entropy(empty.class_logits[0], LABELS[1], reduction="none")
    torch.testing.assert_close(taught["classification"], losses.topk(3).values.sum())
    assert DetectionLoss()(empty, BOXES, OBJECTS[1:])["classification"] == 0
    assert taught["boxes"] == 0


def test_the_box_loss_counts_with_its_weight() -> None:
    once = DetectionLoss()(RAW, BOXES, OBJECTS)["boxes"]
    thrice = DetectionLoss(DetectionLossOptions(box_weight=3))(RAW, BOXES, OBJECTS)["boxes"]
    torch.testing.assert_close(thrice, 3 * once)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_counted_in_full(dtype: torch.dtype) -> None:
    raw = RawDetections(RAW.class_logits.to(dtype), RAW.box_offsets.to(dtype))
    full = RawDetections(raw.class_logits.float(), raw.box_offsets.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = DetectionLoss()(raw, BOXES, OBJECTS)
    for name, value in DetectionLoss()(full, BOXES, OBJECTS).items():
        torch.testing.assert_close(losses[name], value)
