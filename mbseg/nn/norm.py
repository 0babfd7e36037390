"""From stored pixels to what a network expects, and batch norm that stands still."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """uint8 RGB [N, 3, H, W] -> float, (value / 255 - mean) / std per channel; mean and std of values in [0, 1]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        std_column = torch.tensor(std).view(3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std_column), persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).view(3, 1, 1) / std_column, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images.to(self.scale.dtype) * self.scale + self.shift


def freeze_norm(module: nn.Module) -> None:
    """Puts every batch norm into eval mode: its statistics stand, its affine parameters still learn."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
