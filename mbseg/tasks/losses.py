"""The losses of segmentation, summed with their weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.tasks.base import at_least_float32, mean_over_processes, sum_over_processes

DenseLoss = Callable[[Tensor, Tensor], Tensor]  # logits [N, C, H, W] and classes int64 [N, H, W] -> scalar

IGNORE_INDEX = 255
OVER_PIXELS = (0, 2, 3)  # of [N, C, H, W], so that a value for each class is left
LEAST_AREA = 1e-7  # pixels, below which a class counts as neither there nor predicted


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

    Over several processes each is what one process would make of all their pictures, but for Lovasz, which sorts pixels
    and is the mean of what each process makes of its own. A batch of nothing but 255 costs nothing.
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
            return self._losses(at_least_float32(logits).contiguous(), masks)

    def _losses(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        step = self.weights.stride
        target = masks[:, ::step, ::step].long()
        losses = {}
        if self.weights.cross_entropy:
            total = self._summed_cross_entropy(logits, target)
            valid = (target != IGNORE_INDEX).sum()
            losses["cross_entropy"] = self.weights.cross_entropy * mean_over_processes(total, valid)
        return {**losses, **self._region_losses(logits, target)}

    def _summed_cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.device.type == "cpu" and logits.requires_grad:
            total: Tensor = PictureByPicture.apply(logits, target, self._cross_entropy)
            return total
        return self._cross_entropy(logits, target)

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            self._upsample(logits, target),
            target,
            weight=self.class_weights,
            ignore_index=IGNORE_INDEX,
            label_smoothing=self.weights.label_smoothing,
            reduction="sum",
        )

    def _region_losses(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        if not self.region_losses:
            return {}
        dense = self._upsample(logits, target)
        return {name: weight * loss(dense, target) for name, (weight, loss) in self.region_losses.items()}

    def _upsample(self, logits: Tensor, target: Tensor) -> Tensor:
        size = (target.shape[1], target.shape[2])
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)


class PictureByPicture(torch.autograd.Function):
    """A loss summed over pictures, and its gradient at once: the upsampled logits of one fit into a CPU's cache.

    Those of a batch do not (8 pictures of 513 x 513 and 21 classes: 177 MB, several times over in the backward pass).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        gradients: list[Tensor] = []
        total = logits.new_zeros(())
        for one, its_target in zip(torch.split(logits, 1), torch.split(target, 1), strict=True):
            with torch.enable_grad():
                leaf = one.detach().requires_grad_()
                value = loss(leaf, its_target)
            gradients += torch.autograd.grad(value, leaf)
            total += value.detach()
        ctx.save_for_backward(torch.cat(gradients))
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return outer[0] * gradient, None, None


def region_losses(weights: LossWeights) -> dict[str, tuple[float, DenseLoss]]:
    made = {
        "dice": (weights.dice, dice_loss),
        "lovasz": (weights.lovasz, lovasz_loss),
        "focal": (weights.focal, focal_loss),
    }
    return {name: (weight, loss) for name, (weight, loss) in made.items() if weight}


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of probabilities, over all pixels of all processes; the mean of the classes, 0 for those not there."""
    truth = target[:, None] == torch.arange(logits.shape[1], device=target.device).view(-1, 1, 1)  # nowhere at 255
    found = logits.softmax(1) * (target != IGNORE_INDEX)[:, None]
    sums = [(found * truth).sum(OVER_PIXELS), found.sum(OVER_PIXELS), truth.sum(OVER_PIXELS).to(found.dtype)]
    both, predicted, labelled = sum_over_processes(torch.stack(sums))
    dice = 2 * both / (predicted + labelled).clamp(min=LEAST_AREA)
    of_classes: Tensor = (1 - dice) * (labelled > 0)
    return of_classes.mean()


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Of each class against the rest; the mean of all valid pixels of all processes and the classes."""
    from segmentation_models_pytorch.losses import FocalLoss  # takes seconds to import

    total = FocalLoss("multiclass", ignore_index=IGNORE_INDEX, reduction="sum")(logits, target)
    return mean_over_processes(total, (target != IGNORE_INDEX).sum())


def lovasz_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Of the pixels of this process, whose order by their errors it needs."""
    from segmentation_models_pytorch.losses import LovaszLoss

    if not (target != IGNORE_INDEX).any():
        return logits.sum() * 0
    loss: Tensor = LovaszLoss("multiclass", ignore_index=IGNORE_INDEX)(logits, target)
    return loss
