"""Atrous spatial pyramid pooling and what stands beside it (arXiv:1706.05587, section 3.3; arXiv:1905.02244, 6.4)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo
from mbseg.nn.blocks import separable_conv
from mbseg.nn.conv import ConvNormAct

Aspp = Literal["dense", "separable", "none"]


class Pyramid(nn.Module):
    """1x1 and atrous 3x3 convolutions and image pooling side by side, concatenated and projected.

    "No ASPP" (MobileNetV2 paper, section 6.3; R-ASPP in the V3 paper) leaves out the three atrous branches and keeps
    the image pooling. `rates` None: those that fit the map's stride. Shapes: [N, C, h, w] -> [N, channels, h, w].
    """

    def __init__(
        self, feature: FeatureInfo, *, aspp: Aspp, channels: int, rates: tuple[int, int, int] | None = None
    ) -> None:
        super().__init__()
        rates = atrous_rates(feature.stride) if rates is None else rates
        self.branches = branches(feature.channels, channels, aspp=aspp, rates=rates)
        self.image_pooling = ImagePooling(feature.channels, channels)
        joined = channels * (len(self.branches) + 1)
        self.project = ConvNormAct(joined, channels, activation=nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([*(branch(x) for branch in self.branches), self.image_pooling(x)], dim=1)
        projected: Tensor = self.project(joined)
        return projected


def atrous_rates(stride: int) -> tuple[int, int, int]:
    """6, 12, 18 at output stride 16; twice that at 8, half of it at 32: the same reach in pixels of the picture."""
    return (96 // stride, 192 // stride, 288 // stride)


def branches(in_channels: int, channels: int, *, aspp: Aspp, rates: Sequence[int]) -> nn.ModuleList:
    """The branches that keep the map's size: a 1x1 convolution and, unless `aspp` is "none", the atrous ones."""
    kept: list[nn.Module] = [ConvNormAct(in_channels, channels, activation=nn.ReLU(inplace=True))]
    if aspp != "none":
        build = dense_branch if aspp == "dense" else separable_branch
        kept += [build(in_channels, channels, rate) for rate in rates]
    return nn.ModuleList(kept)


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


class ImageGate(nn.Module):
    """One factor in [0, 1] a channel from the mean of the whole picture (LR-ASPP).

    Shapes: [N, in_channels, h, w] -> [N, channels, 1, 1].
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.conv(self.pool(x))
        return gate.sigmoid()
