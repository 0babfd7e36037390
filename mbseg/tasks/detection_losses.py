"""The losses of SSD: is it an object, and where (arXiv:1512.02325, section 2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.boxes.coding import encode
from mbseg.boxes.detections import Objects, RawDetections, Scores
from mbseg.boxes.matching import hard_negatives, match
from mbseg.tasks.base import at_least_float32, mean_over_processes

Classification = Literal["cross_entropy", "focal"]


@dataclass(frozen=True)
class DetectionLossOptions:
    """How boxes are matched and losses counted."""

    classification: Classification = "cross_entropy"
    box_weight: float = 1.0  # of the box loss beside the classification
    iou_threshold: float = 0.5  # from which on a default box stands for an object
    negative_ratio: float = 3.0  # background boxes that count, for one that stands for an object; not with focal
    least_negatives: int = 0  # of every picture, so that one without objects teaches something
    focal_alpha: float = 0.25  # weight of objects, that of the background being the rest (arXiv:1708.02002)
    focal_gamma: float = 2.0


class Targets(NamedTuple):
    """What a batch is to predict."""

    labels: Tensor  # [N, boxes] int64, 0 the background, 1 .. num_classes
    offsets: Tensor  # [matched, 4], of all matched boxes of the batch, in the order of labels > 0


class DetectionLoss(nn.Module):
    """Raw detections and the objects of each picture -> the losses "classification" and "boxes".

    Cross entropy over the matched boxes and their hardest negatives, or focal loss over all boxes; of sigmoid scores,
    each class by itself, the background's left out. Smooth L1 of the matched boxes' offsets. Both are summed and
    divided by the matched boxes of all processes; pictures without objects, and degenerate ones, leave them finite.
    """

    def __init__(self, options: DetectionLossOptions | None = None, *, scores: Scores = "softmax") -> None:
        super().__init__()
        self.options = options or DetectionLossOptions()
        self.scores = scores

    def forward(self, raw: RawDetections, default_boxes: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Default boxes [boxes, 4] and objects are xyxy in pixels of the network's input."""
        default_boxes = default_boxes.to(raw.box_offsets.device)
        targets = assign(objects, default_boxes, self.options.iou_threshold)
        with torch.autocast(raw.class_logits.device.type, enabled=False):
            return self._losses(at_least_float32(raw.class_logits), at_least_float32(raw.box_offsets), targets)

    def _losses(self, class_logits: Tensor, box_offsets: Tensor, targets: Targets) -> dict[str, Tensor]:
        matched = targets.labels > 0
        classification = self._classification(class_logits, targets.labels)
        boxes = F.smooth_l1_loss(box_offsets[matched], targets.offsets, reduction="sum")
        return {
            "classification": mean_over_processes(classification, matched.sum()),
            "boxes": self.options.box_weight * mean_over_processes(boxes, matched.sum()),
        }

    def _classification(self, class_logits: Tensor, labels: Tensor) -> Tensor:
        options = self.options
        if options.classification == "focal":
            return focal_losses(class_logits, labels, self.scores, options.focal_alpha, options.focal_gamma).sum()
        losses, matched = class_losses(class_logits, labels, self.scores), labels > 0
        negatives = hard_negatives(
            losses.detach(), matched, ratio=options.negative_ratio, at_least=options.least_negatives
        )
        return losses[matched | negatives].sum()


def assign(objects: Sequence[Objects], default_boxes: Tensor, iou_threshold: float) -> Targets:
    labels, offsets = [], []
    for boxes, classes in objects:
        matches = match(boxes, default_boxes, iou_threshold=iou_threshold)
        background = classes.new_zeros(1)
        labels.append(torch.cat([classes + 1, background])[matches])  # UNMATCHED, -1, takes the last
        matched = matches >= 0
        offsets.append(encode(boxes[matches[matched]], default_boxes[matched]))
    return Targets(torch.stack(labels), torch.cat(offsets))


def class_losses(class_logits: Tensor, labels: Tensor, scores: Scores) -> Tensor:
    """Cross entropy of every box: logits [N, boxes, num_classes + 1], labels [N, boxes] -> [N, boxes]."""
    if scores == "softmax":
        return F.cross_entropy(class_logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    return binary_losses(class_logits, labels).sum(-1)


def focal_losses(class_logits: Tensor, labels: Tensor, scores: Scores, alpha: float, gamma: float) -> Tensor:
    """Cross entropy times (1 - probability of the truth) ** gamma, so that what is easy hardly counts."""
    if scores == "softmax":
        losses, positives = class_losses(class_logits, labels, scores), labels > 0
    else:
        losses, positives = binary_losses(class_logits, labels), object_classes(class_logits, labels)
    weights = torch.where(positives, alpha, 1 - alpha)
    return weights * (1 - torch.exp(-losses)) ** gamma * losses


def binary_losses(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Of every box, each class by itself: [N, boxes, num_classes]."""
    targets = object_classes(class_logits, labels).to(class_logits.dtype)
    return F.binary_cross_entropy_with_logits(class_logits[..., 1:], targets, reduction="none")


def object_classes(class_logits: Tensor, labels: Tensor) -> Tensor:
    """[N, boxes, num_classes] bool: true at the box's own class, nowhere for the background."""
    classes = torch.arange(1, class_logits.shape[-1], device=labels.device)
    return labels[..., None] == classes
