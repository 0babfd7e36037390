"""Which default box learns which object, and which of the others learn that there is none (arXiv:1512.02325, 2.2)."""

import torch
from torch import Tensor

from mbseg.boxes.geometry import iou

UNMATCHED = -1


def match(boxes: Tensor, default_boxes: Tensor, *, iou_threshold: float = 0.5) -> Tensor:
    """The object that each default box is to find, [boxes] int64: its index, or UNMATCHED.

    A default box takes the object that it overlaps most, if by `iou_threshold` or more; besides, every object has the
    default box that overlaps it most, and where two objects want the same one, the later has it. An object that
    overlaps none, because it has no area or is not finite, is left alone. `boxes` xyxy [n, 4], n may be 0.
    """
    if len(boxes) == 0:
        return boxes.new_full((len(default_boxes),), UNMATCHED, dtype=torch.int64)
    overlaps = iou(boxes, default_boxes)
    overlap, matches = overlaps.max(dim=0)
    matches[overlap < iou_threshold] = UNMATCHED
    return keep_best(matches, overlaps)


def keep_best(matches: Tensor, overlaps: Tensor) -> Tensor:
    """`matches` with the best default box of every object added; overlaps [objects, boxes]."""
    overlap, best = overlaps.max(dim=1)
    objects = torch.arange(len(overlaps), device=overlaps.device)
    found = overlap > 0
    return matches.scatter_reduce(0, best[found], objects[found], "amax", include_self=False)


def hard_negatives(losses: Tensor, positives: Tensor, *, ratio: float = 3.0, at_least: int = 0) -> Tensor:
    """The background boxes that count: in every picture those of the largest loss, `ratio` for one positive box.

    losses [N, boxes], positives [N, boxes] bool -> [N, boxes] bool. `at_least` so many are taken of each picture;
    with 0, as in SSD, a picture without objects teaches nothing.
    """
    wanted = (ratio * positives.sum(1, keepdim=True)).clamp(min=at_least)
    order = losses.masked_fill(positives, -torch.inf).argsort(dim=1, descending=True)
    return (order.argsort(dim=1) < wanted) & ~positives
