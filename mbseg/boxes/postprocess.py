"""From raw predictions to the objects of a picture: decoding, thresholds, non-maximum suppression."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from mbseg.boxes.coding import decode
from mbseg.boxes.detections import Detections, RawDetections, Scores
from mbseg.boxes.geometry import Size, areas, clip, rescale
from mbseg.errors import ConfigError

FIRST_ROUND = 4  # candidates looked at first, for one detection asked for


@dataclass(frozen=True)
class Selection:
    """Which predictions become detections. The values are those of torchvision's SSDLite."""

    score_threshold: float = 0.001  # a score must be above it
    iou_threshold: float = 0.55  # a box that overlaps a more probable one of its class by more is dropped
    candidates: int = 300  # most of one class before the suppression
    detections: int = 300  # most of a picture

    def __post_init__(self) -> None:
        """Raises ConfigError for thresholds that are no fractions, and for counts below 1."""
        thresholds, counts = (self.score_threshold, self.iou_threshold), (self.candidates, self.detections)
        if not all(0 <= threshold <= 1 for threshold in thresholds) or min(counts) < 1:
            raise ConfigError(f"{self}; thresholds lie between 0 and 1, counts are 1 or more")

    def describe(self) -> str:
        """In words, for beside a score."""
        return (
            f"scores above {self.score_threshold:g}, non-maximum suppression at IoU {self.iou_threshold:g} of "
            f"{self.candidates} a class, at most {self.detections} boxes"
        )


def postprocess(
    raw: RawDetections,
    default_boxes: Tensor,
    *,
    image_size: Size,
    picture_sizes: Sequence[Size],
    scores: Scores = "softmax",
    selection: Selection | None = None,
) -> list[Detections]:
    """The detections of every picture, in its own pixels.

    `image_size` is what the network saw, in whose pixels the default boxes are; `picture_sizes` what the pictures had
    before they were resized to it. Predictions that are not finite, or lie outside the picture, are dropped.
    """
    selection = selection or Selection()
    default_boxes = default_boxes.to(raw.box_offsets.device)
    all_boxes = clip(decode(raw.box_offsets.float(), default_boxes), image_size)
    all_probabilities = probabilities(raw.class_logits.float(), scores)
    chosen = [select(*one, selection) for one in zip(all_boxes, all_probabilities, strict=True)]
    return [
        Detections(rescale(one.boxes, image_size, size), one.scores, one.labels)
        for one, size in zip(chosen, picture_sizes, strict=True)
    ]


def probabilities(class_logits: Tensor, scores: Scores) -> Tensor:
    """[..., num_classes + 1] -> [..., num_classes]: the background, which comes first, is left out."""
    return class_logits.softmax(-1)[..., 1:] if scores == "softmax" else class_logits[..., 1:].sigmoid()


def select(boxes: Tensor, probabilities: Tensor, selection: Selection) -> Detections:
    """The detections of one picture: boxes [boxes, 4], probabilities [boxes, classes].

    A box is only ever suppressed by a more probable one. So the most probable candidates alone decide about
    themselves, and the others are looked at only if too few of these remain.
    """
    sound = boxes.isfinite().all(1) & (areas(boxes) > 0) & probabilities.sum(1).isfinite()
    scores = probabilities.masked_fill(~sound[:, None], -torch.inf).flatten()
    passed, classes = int((scores > selection.score_threshold).sum()), probabilities.shape[1]
    kept = scores.new_empty(0, dtype=torch.int64)  # a candidate is its place among the scores
    for count in rounds(passed, selection.detections):
        best = scores.topk(count).indices
        best = best[ranks_in_class(best % classes) < selection.candidates]
        kept = best[class_nms(boxes[best // classes], scores[best], best % classes, selection.iou_threshold)]
        if len(kept) >= selection.detections:
            break
    kept = kept[: selection.detections]
    return Detections(boxes[kept // classes], scores[kept], kept % classes)


def rounds(candidates: int, detections: int) -> Iterator[int]:
    """How many candidates are looked at: a few, then four times as many, in the end all."""
    count = FIRST_ROUND * detections
    while count < candidates:
        yield count
        count *= 4
    yield candidates


def ranks_in_class(labels: Tensor) -> Tensor:
    """The place of every entry among those of its label: [2, 5, 2, 2] -> [0, 0, 1, 2]."""
    order = labels.argsort(stable=True)
    grouped = labels[order]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(labels), device=labels.device) - torch.searchsorted(grouped, grouped)
    return ranks


def class_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes that no more probable one of the same class overlaps by more, the most probable first.

    Every class is moved to a place of its own; in doubles, as the shifted coordinates would lose digits in floats.
    """
    if len(boxes) == 0:
        return labels
    shifts = labels * (boxes.max().double() + 1)
    kept: Tensor = nms(boxes.double() + shifts[:, None], scores.double(), iou_threshold)
    return kept
