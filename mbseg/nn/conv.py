"""Convolution, batch norm and activation as one module."""

import torch
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """nn.Conv2d, but a dilated depthwise convolution stays in fp32 under autocast on the CPU.

    Its weight gradients in bf16 and channels_last are wrong there on maps of 33 x 33 and larger (torch 2.14, oneDNN;
    docs/decisions/0005-dilated-depthwise-in-fp32.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.groups > 1 and max(self.dilation) > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


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
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.conv = Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation or nn.Identity()
