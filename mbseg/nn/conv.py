"""Convolution, batch norm and activation as one module."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = Literal["symmetric", "tensorflow"]
NORM_EPSILON = 1e-5  # of every batch norm


class Conv2d(nn.Conv2d):
    """nn.Conv2d, but grouped convolutions with a stride or dilation stay in fp32 under autocast on the CPU.

    Their gradients in bf16 are wrong or take forty times as long there (torch 2.14, oneDNN; docs/decisions/0005).
    """

    def forward(self, x: Tensor) -> Tensor:
        stays = self.groups > 1 and max(*self.stride, *self.dilation) > 1
        if stays and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class TensorFlowConv2d(Conv2d):
    """A strided convolution under TensorFlow's padding SAME.

    The padding depends on the size: at even sizes a 3x3 convolution of stride 2 pads right and below only. At sizes
    stride * k + 1 (257, 513) it is the symmetric one.
    """

    def forward(self, x: Tensor) -> Tensor:
        height, width = (
            same_padding(size, kernel, stride)
            for size, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        )
        return super().forward(F.pad(x, (*width, *height)))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and behind: the output has ceil(size / stride), and the odd pixel lies behind."""
    total = kernel - 1 - (size - 1) % stride
    if kernel < stride:
        total = max(0, total)
    return total // 2, total - total // 2


class ConvNormAct(nn.Sequential):
    """k x k convolution without bias, batch norm, activation; "same" padding, so the output is input / stride.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
        padding: Padding = "symmetric",
    ) -> None:
        super().__init__()
        by_size = padding == "tensorflow" and stride > 1  # without a stride both are the same
        convolution = TensorFlowConv2d if by_size else Conv2d
        self.conv = convolution(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=0 if by_size else dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=NORM_EPSILON)
        self.activation = activation or nn.Identity()
