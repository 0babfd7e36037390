"""Convolution, batch norm and activation as one module."""

from torch import nn


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
        self.conv = nn.Conv2d(
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
