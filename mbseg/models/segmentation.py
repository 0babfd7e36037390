"""A backbone and a head: pictures to logits."""

import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from mbseg.backbones.base import Backbone
from mbseg.errors import WeightsError
from mbseg.naming import MOST_CLASSES, is_one_line


@dataclass(frozen=True)
class ModelCard:
    """What a weights file says of itself beside the weights."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]  # RGB, of values in [0, 1]
    std: tuple[float, float, float]
    config: dict[str, Any]  # the experiment that made it
    metrics: dict[str, Any] = field(default_factory=dict)


def card_from(content: dict[str, Any]) -> ModelCard:
    """JSON has lists where a card has tuples. Raises WeightsError, which names the entry, for what no model has."""
    try:
        card = TypeAdapter(ModelCard).validate_python({name: content[name] for name in ModelCard.__dataclass_fields__})
    except ValidationError as error:
        raise WeightsError(f"the {error.errors()[0]['loc'][0]} that it names cannot be") from None
    is_right = {
        "classes": 0 < len(card.classes) <= MOST_CLASSES and all(map(is_one_line, card.classes)),
        "palette": len(card.palette) == len(card.classes)
        and all(value in range(256) for colour in card.palette for value in colour),
        "mean": all(map(math.isfinite, card.mean)),
        "std": all(map(math.isfinite, card.std)) and min(card.std) > 0,
    }
    if wrong := [name for name, right in is_right.items() if not right]:
        raise WeightsError(f"the {wrong[0]} that it names cannot be")
    return card


class SegmentationModel(nn.Module):
    """Normalised images [N, 3, H, W] -> logits [N, num_classes, h, w] at the head's own stride.

    The loss and `class_map` upsample them, both under this model's `align_corners`.
    """

    card: ModelCard | None = None  # of a model that `mbseg.load` has read

    def __init__(self, backbone: Backbone, head: nn.Module, *, align_corners: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.align_corners = align_corners

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits[..., : images.shape[-2], : images.shape[-1]]  # of stride 1, up to a row too many at odd sizes
