"""A backbone and a head: pictures to logits."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mbseg.backbones.base import Backbone


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
    """JSON has lists where a card has tuples."""
    return ModelCard(
        classes=tuple(content["classes"]),
        palette=tuple((red, green, blue) for red, green, blue in content["palette"]),
        mean=tuple(content["mean"]),
        std=tuple(content["std"]),
        config=content["config"],
        metrics=content["metrics"],
    )


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
