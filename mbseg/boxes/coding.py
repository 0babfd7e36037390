"""Boxes as offsets from default boxes, and back (arXiv:1506.01497, equation 2)."""

import math

import torch
from torch import Tensor

from mbseg.boxes.geometry import cxcywh_to_xyxy, xyxy_to_cxcywh

SCALE_FACTORS = (10.0, 10.0, 5.0, 5.0)  # of x, y, width, height; SSD's variances 0.1 and 0.2, inverted
LARGEST_GROWTH = math.log(1000 / 16)  # of a side over the default box's; keeps exp() from overflowing


def encode(boxes: Tensor, default_boxes: Tensor) -> Tensor:
    """xyxy boxes, each with the default box that stands for it, [..., 4] both -> offsets [..., 4].

    Finite for boxes that have an area.
    """
    centers, sides = halves(xyxy_to_cxcywh(boxes))
    default_centers, default_sides = halves(xyxy_to_cxcywh(default_boxes))
    shifts = (centers - default_centers) / default_sides
    return torch.cat([shifts, torch.log(sides / default_sides)], dim=-1) * boxes.new_tensor(SCALE_FACTORS)


def decode(offsets: Tensor, default_boxes: Tensor) -> Tensor:
    """The inverse of `encode`: offsets [..., boxes, 4] and xyxy default boxes [boxes, 4] -> xyxy [..., boxes, 4].

    No side grows beyond 62.5 times the default box's.
    """
    default_centers, default_sides = halves(xyxy_to_cxcywh(default_boxes))
    shifts, growths = halves(offsets / offsets.new_tensor(SCALE_FACTORS))
    sides = growths.clamp(max=LARGEST_GROWTH).exp() * default_sides
    return cxcywh_to_xyxy(torch.cat([default_centers + shifts * default_sides, sides], dim=-1))


def halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """What concerns the centre and what concerns the sides, [..., 2] each."""
    return values[..., :2], values[..., 2:]
