"""Boxes as tensors: the two forms, areas, overlap, borders.

xyxy: left, top, right, bottom. cxcywh: centre, width, height. Both are [..., 4].
"""

import torch
from torch import Tensor

Size = tuple[int, int]  # (height, width)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes[..., :2] + 0.5 * sides, sides], dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    centers, half = boxes[..., :2], 0.5 * boxes[..., 2:]
    return torch.cat([centers - half, centers + half], dim=-1)


def areas(boxes: Tensor) -> Tensor:
    """xyxy [..., 4] -> [...]; 0 for a box whose sides are swapped."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return width * height


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of every pair, xyxy [n, 4] and [m, 4] -> [n, m].

    0 wherever it is not defined: for two boxes without an area and for coordinates that are not finite.
    """
    left_top = torch.maximum(boxes[:, None, :2], others[:, :2])
    right_bottom = torch.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = areas(torch.cat([left_top, right_bottom], dim=-1))
    union = areas(boxes)[:, None] + areas(others) - shared
    return torch.where(union > 0, shared / union, 0)


def clip(boxes: Tensor, size: Size) -> Tensor:
    """xyxy boxes cut at the borders of a picture of `size`; one that lies outside is left without an area."""
    height, width = size
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def rescale(boxes: Tensor, size: Size, new_size: Size) -> Tensor:
    """xyxy boxes of a picture of `size`, where the picture is resized to `new_size`."""
    vertical, horizontal = new_size[0] / size[0], new_size[1] / size[1]
    return boxes * boxes.new_tensor([horizontal, vertical, horizontal, vertical])
