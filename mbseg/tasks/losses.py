"""The losses of segmentation, summed with their weights."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, LovaszLoss
from torch import Tensor, nn

from mbseg.tasks.base import mean_over_processes

IGNORE_INDEX = 255


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts; 0 leaves it out."""

    cross_entropy: float = 1.0
    dice: float = 0.0
    lovasz: float = 0.0
    focal: float = 0.0
    label_smoothing: float = 0.0
    stride: int = 1  # on every stride-th pixel of the masks
    classes: tuple[float, ...] | None = field(default=None)  # of the cross entropy, one for each class


class SegmentationLoss(nn.Module):
    """Logits [N, C, h, w] at the head's stride and masks [N, H, W] -> named losses at the masks' size.

    Cross entropy is normalised by the valid pixels of all processes; a batch of nothing but 255 costs nothing. Dice,
    Lovasz and focal loss are segmentation-models-pytorch's.
    """

    class_weights: Tensor | None

    def __init__(self, weights: LossWeights, *, align_corners: bool) -> None:
        super().__init__()
        self.weights = weights
        self.align_corners = align_corners
        class_weights = None if weights.classes is None else torch.tensor(weights.classes)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.region_losses = region_losses(weights)

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):  # else Lovasz's products are rounded to bf16
            return self._losses(logits.float(), masks)

    def _losses(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        step = self.weights.stride
        target = masks[:, ::step, ::step].long()
        size = (target.shape[1], target.shape[2])
        dense = F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)
        losses = {}
        if self.weights.cross_entropy:
            losses["cross_entropy"] = self.weights.cross_entropy * self._cross_entropy(dense, target)
        has_labels = (target != IGNORE_INDEX).any()
        for name, (weight, loss) in self.region_losses.items():
            losses[name] = weight * loss(dense, target) if has_labels else dense.sum() * 0
        return losses

    def _cross_entropy(self, dense: Tensor, target: Tensor) -> Tensor:
        total = F.cross_entropy(
            dense,
            target,
            weight=self.class_weights,
            ignore_index=IGNORE_INDEX,
            label_smoothing=self.weights.label_smoothing,
            reduction="sum",
        )
        return mean_over_processes(total, (target != IGNORE_INDEX).sum())


def region_losses(weights: LossWeights) -> dict[str, tuple[float, nn.Module]]:
    made = {
        "dice": (weights.dice, DiceLoss("multiclass", ignore_index=IGNORE_INDEX)),
        "lovasz": (weights.lovasz, LovaszLoss("multiclass", ignore_index=IGNORE_INDEX)),
        "focal": (weights.focal, FocalLoss("multiclass", ignore_index=IGNORE_INDEX)),
    }
    return {name: (weight, loss) for name, (weight, loss) in made.items() if weight}
