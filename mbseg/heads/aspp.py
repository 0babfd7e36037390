"""Atrous spatial pyramid pooling and the image pooling beside it (arXiv:1706.05587, section 3.3)."""

from typing import Literal

from torch import Tensor, nn

from mbseg.nn.blocks import separable_conv
from mbseg.nn.conv import ConvNormAct

Aspp = Literal["dense", "separable", "none"]


def atrous_rates(output_stride: int) -> tuple[int, int, int]:
    """6, 12, 18 at output stride 16; twice that at 8, half of it at 32: the same reach in pixels of the picture."""
    return (96 // output_stride, 192 // output_stride, 288 // output_stride)


def pyramid(in_channels: int, channels: int, *, aspp: Aspp, output_stride: int) -> nn.ModuleList:
    """The branches that keep the map's size: a 1x1 convolution and, unless `aspp` is "none", three atrous ones."""
    branches: list[nn.Module] = [ConvNormAct(in_channels, channels, activation=nn.ReLU(inplace=True))]
    if aspp != "none":
        build = dense_branch if aspp == "dense" else separable_branch
        branches += [build(in_channels, channels, rate) for rate in atrous_rates(output_stride)]
    return nn.ModuleList(branches)


def dense_branch(in_channels: int, channels: int, rate: int) -> nn.Module:
    return ConvNormAct(in_channels, channels, 3, dilation=rate, activation=nn.ReLU(inplace=True))


def separable_branch(in_channels: int, channels: int, rate: int) -> nn.Module:
    return separable_conv(in_channels, channels, dilation=rate)


class ImagePooling(nn.Module):
    """The whole picture's mean through a 1x1 convolution, spread over the map again.

    Shapes: [N, in_channels, h, w] -> [N, channels, h, w]. In training it needs two pictures or more: batch norm
    cannot normalise a single value a channel.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = ConvNormAct(in_channels, channels, activation=nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.conv(self.pool(x))
        return pooled.expand(-1, -1, *x.shape[-2:])
