"""SSD's fixed boxes, tiled over the real sizes of the feature maps (arXiv:1512.02325, section 2.2)."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mbseg.boxes.geometry import Size, cxcywh_to_xyxy

DefaultBoxPlan = Literal["standard", "torchvision"]

SMALLEST, LARGEST = 0.2, 0.95  # scales of the first and the last map
BEHIND_LAST = 1.0


class BoxShape(NamedTuple):
    """One default box, wherever it lies."""

    scale: float  # side of a square of the same area / side of the picture
    ratio: float  # width / height


FIRST_MAP = (BoxShape(0.1, 1), BoxShape(0.2, 2), BoxShape(0.2, 1 / 2))


def box_shapes(maps: int, plan: DefaultBoxPlan = "standard") -> tuple[tuple[BoxShape, ...], ...]:
    """The boxes of every position of each of `maps` feature maps, fine to coarse.

    "standard" is TensorFlow's SSDLite, that of the MobileNet papers: three on the first map, six on every other one.
    "torchvision" has six on every map, and in another order.
    """
    scales = [*map_scales(maps), BEHIND_LAST]
    if plan == "torchvision":
        return tuple(torchvision_shapes(scale, following) for scale, following in pairwise(scales))
    return (FIRST_MAP, *(standard_shapes(scale, following) for scale, following in pairwise(scales[1:])))


def map_scales(maps: int) -> list[float]:
    return [SMALLEST + (LARGEST - SMALLEST) * index / max(1, maps - 1) for index in range(maps)]


def standard_shapes(scale: float, following: float) -> tuple[BoxShape, ...]:
    shapes = [BoxShape(scale, ratio) for ratio in (1, 2, 1 / 2, 3, 1 / 3)]
    return (*shapes, between(scale, following))


def torchvision_shapes(scale: float, following: float) -> tuple[BoxShape, ...]:
    shapes = [BoxShape(scale, ratio) for ratio in (2, 1 / 2, 3, 1 / 3)]
    return (BoxShape(scale, 1), between(scale, following), *shapes)


def between(scale: float, following: float) -> BoxShape:
    """The square that lies between this map's and the next one's."""
    return BoxShape(math.sqrt(scale * following), 1)


def default_boxes(feature_sizes: Sequence[Size], image_size: Size, plan: DefaultBoxPlan = "standard") -> Tensor:
    """All default boxes of a picture, xyxy [boxes, 4] in its pixels; they may reach over its borders.

    Ordered by map, row, column and shape, as the head's predictions are. In a picture that is not square, the standard
    boxes are measured by its shorter side and keep their ratios; torchvision's are stretched with the picture, and no
    side is longer than the picture's.
    """
    height, width = image_size
    normalized = [
        tile(feature_size, box_sides(shapes, image_size, plan))
        for feature_size, shapes in zip(feature_sizes, box_shapes(len(feature_sizes), plan), strict=True)
    ]
    return torch.cat(normalized) * torch.tensor([width, height, width, height])


def box_sides(shapes: Iterable[BoxShape], image_size: Size, plan: DefaultBoxPlan) -> Tensor:
    """Normalized (width, height) of every shape, [shapes, 2]."""
    sides = torch.tensor([(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for scale, ratio in shapes])
    if plan == "torchvision":
        return sides.clamp(max=1)
    height, width = image_size
    return sides * torch.tensor([min(image_size) / width, min(image_size) / height])


def tile(feature_size: Size, sides: Tensor) -> Tensor:
    """Boxes of these normalized sides round the centre of every cell, normalized xyxy [rows * columns * sides, 4]."""
    rows, columns = ((torch.arange(count) + 0.5) / count for count in feature_size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centers = torch.stack([x, y], dim=-1)[:, :, None].expand(-1, -1, len(sides), -1)
    return cxcywh_to_xyxy(torch.cat([centers, sides.expand_as(centers)], dim=-1)).flatten(0, 2)
