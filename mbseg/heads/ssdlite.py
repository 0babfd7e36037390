"""SSDLite: SSD with separable convolutions (arXiv:1801.04381, section 6.2), and the layers behind the backbone."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo, Features
from mbseg.boxes.detections import RawDetections
from mbseg.nn.conv import ConvNormAct, Padding
from mbseg.nn.init import initialize

EXTRA_CHANNELS = (512, 256, 256, 128)  # at width 1
LEAST_CHANNELS = 16


class ExtraLayers(nn.Module):
    """Four more feature maps behind the backbone's last one, each half as large as the one before.

    Shapes: {tap: [N, C, h, w]} -> the maps of `taps`, fine to coarse, then the four; `channels` tells how wide each is.
    """

    def __init__(
        self,
        features: Mapping[str, FeatureInfo],
        *,
        taps: Sequence[str],
        width_mult: float = 1.0,
        padding: Padding = "symmetric",
    ) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.channels = [features[tap].channels for tap in taps]
        self.layers = nn.ModuleList()
        for printed in EXTRA_CHANNELS:
            channels = max(LEAST_CHANNELS, int(printed * width_mult))
            self.layers.append(ExtraLayer(self.channels[-1], channels, padding=padding))
            self.channels.append(channels)
        initialize(self)

    def forward(self, features: Features) -> list[Tensor]:
        maps = [features[tap] for tap in self.taps]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps


class ExtraLayer(nn.Sequential):
    """1x1 convolution to half the channels, 3x3 depthwise of stride 2, 1x1 to all of them.

    Shapes: [N, in_channels, H, W] -> [N, channels, ceil(H / 2), ceil(W / 2)].
    """

    def __init__(self, in_channels: int, channels: int, *, padding: Padding) -> None:
        super().__init__()
        inner = max(LEAST_CHANNELS, channels // 2)
        self.reduce = ConvNormReLU6(in_channels, inner)
        self.depthwise = ConvNormReLU6(inner, inner, 3, stride=2, groups=inner, padding=padding)
        self.widen = ConvNormReLU6(inner, channels)


class SSDLite(nn.Module):
    """Of every feature map, class logits and box offsets of the default boxes at each of its positions.

    `boxes` is how many there are at a position of each map. `prior` is the probability that sigmoid scores start with
    (arXiv:1708.02002, section 3.3); None leaves the biases at 0.
    Shapes: maps [N, channels, h, w] -> logits [N, all boxes, num_classes + 1], offsets [N, all boxes, 4].
    """

    def __init__(
        self, channels: Sequence[int], boxes: Sequence[int], *, num_classes: int, prior: float | None = None
    ) -> None:
        super().__init__()
        self.outputs = num_classes + 1  # the background is a class of its own
        self.class_predictors = predictors(channels, [count * self.outputs for count in boxes])
        self.box_predictors = predictors(channels, [count * 4 for count in boxes])
        if prior is not None:
            for predictor in self.class_predictors:
                nn.init.constant_(predictor.get_parameter("pointwise.bias"), math.log(prior / (1 - prior)))

    def forward(self, maps: Sequence[Tensor]) -> RawDetections:
        return RawDetections(
            predict_boxes(self.class_predictors, maps, self.outputs), predict_boxes(self.box_predictors, maps, 4)
        )


def predictors(channels: Sequence[int], outputs: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(Predictor(inner, outer) for inner, outer in zip(channels, outputs, strict=True))


def predict_boxes(layers: nn.ModuleList, maps: Sequence[Tensor], values: int) -> Tensor:
    """One row of `values` for each default box, ordered by map, row, column and shape: [N, boxes, values]."""
    predictions = [layer(features) for layer, features in zip(layers, maps, strict=True)]
    return torch.cat([one.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values)) for one in predictions], dim=1)


class Predictor(nn.Sequential):
    """3x3 depthwise convolution with batch norm and ReLU6, then 1x1 with a bias."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = ConvNormReLU6(channels, channels, 3, groups=channels)
        self.pointwise = nn.Conv2d(channels, outputs, 1)
        initialize(self)
        nn.init.normal_(self.pointwise.weight, std=0.03)


class ConvNormReLU6(ConvNormAct):
    """ConvNormAct with ReLU6 for maps down to a single cell."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        padding: Padding = "symmetric",
    ) -> None:
        activation = nn.ReLU6(inplace=True)
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, activation=activation, padding=padding
        )
        self.norm = SingleCellNorm(out_channels)


class SingleCellNorm(nn.BatchNorm2d):
    """Batch norm that stands on its running statistics where a batch is one cell: it would have no variance.

    That is one picture on the last extra map, which is 1 x 1 for pictures up to 512 pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
