"""The "beta" ResNet-101 of TensorFlow DeepLab, the yardstick of the MobileNetV2 paper (arXiv:1801.04381, Table 7).

It differs from the ResNet of other libraries in its stem of three 3x3 convolutions, in the stride, which stands in the
last unit of a stage instead of the first, and in the last stage, which has multi-grid in place of a stride.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from torch import Tensor, nn

from mbseg.backbones.base import Backbone, FeatureInfo, Features
from mbseg.backbones.dilation import check_output_stride, check_taps
from mbseg.nn.conv import ConvNormAct
from mbseg.nn.init import initialize


class StageRow(NamedTuple):
    """One block of TensorFlow DeepLab's `resnet_v1_101_beta`, under its own names."""

    base_depth: int  # channels of the bottleneck; the unit has four times as many
    unit_rates: tuple[int, ...]  # dilation, one a unit; other than 1: multi-grid (arXiv:1706.05587, section 3.2)
    stride: int  # of the last unit


STEM = (64, 64, 128)  # three 3x3 convolutions, the first with stride 2; behind them a max pool with stride 2
STEM_STRIDE = 4
ROWS = (
    StageRow(base_depth=64, unit_rates=(1,) * 3, stride=2),
    StageRow(base_depth=128, unit_rates=(1,) * 4, stride=2),
    StageRow(base_depth=256, unit_rates=(1,) * 23, stride=2),
    StageRow(base_depth=512, unit_rates=(1, 2, 4), stride=1),
)


@dataclass(frozen=True)
class UnitSpec:
    """One bottleneck unit, before anything is built."""

    in_channels: int
    bottleneck_channels: int
    out_channels: int
    stride: int
    dilation: int


@dataclass(frozen=True)
class ResNetPlan:
    """All that a ResNetBeta needs to be built."""

    units: tuple[UnitSpec, ...]  # dilated; nothing behind the deepest tap
    endpoints: dict[int, str]  # the tap behind a unit
    feature_info: dict[str, FeatureInfo]


def resnet101_beta(*, output_stride: int = 32, taps: Sequence[str] = ("c2", "c3", "c4", "c5")) -> "ResNetBeta":
    """A freshly initialised network. Raises ConfigError for an output stride or a tap that it does not have."""
    return ResNetBeta(plan(output_stride, taps))


def plan(output_stride: int, taps: Sequence[str]) -> ResNetPlan:
    """The plan that gives the feature maps `taps` (of `TAPS`) at `output_stride` (8, 16 or 32) and nothing else.

    Raises ConfigError for another output stride, for an unknown tap and for no tap at all.
    """
    check_output_stride(output_stride)
    check_taps(taps, list(TAPS))
    units = tuple(dilate(UNITS, output_stride))
    endpoints = {ENDPOINTS[name]: name for name in taps}
    return ResNetPlan(
        units=units[: max(endpoints) + 1],
        endpoints=endpoints,
        feature_info={name: describe(units, ENDPOINTS[name]) for name in taps},
    )


def units_of(rows: Iterable[StageRow]) -> Iterator[UnitSpec]:
    in_channels = STEM[-1]
    for row in rows:
        strides = [1] * (len(row.unit_rates) - 1) + [row.stride]
        for rate, stride in zip(row.unit_rates, strides, strict=True):
            yield UnitSpec(in_channels, row.base_depth, 4 * row.base_depth, stride, dilation=rate)
            in_channels = 4 * row.base_depth


def dilate(units: Iterable[UnitSpec], output_stride: int) -> Iterator[UnitSpec]:
    """Strides beyond `output_stride` become dilation; as in `mbseg.backbones.dilation`, on top of multi-grid."""
    stride, rate = STEM_STRIDE, 1
    for unit in units:
        dilation = unit.dilation * rate
        if stride * unit.stride > output_stride:
            yield replace(unit, stride=1, dilation=dilation)
            rate *= unit.stride
        else:
            yield replace(unit, dilation=dilation)
            stride *= unit.stride


def strides_behind(units: Iterable[UnitSpec]) -> list[int]:
    """Picture size / size of the map behind each unit."""
    return list(accumulate((unit.stride for unit in units), mul, initial=STEM_STRIDE))[1:]


def find_endpoints(units: Iterable[UnitSpec]) -> dict[str, int]:
    """`cN` lies behind the last unit of stride 2^N: with the stride in a stage's last unit, the one before that."""
    return {f"c{stride.bit_length() - 1}": index for index, stride in enumerate(strides_behind(units))}


def describe(units: Sequence[UnitSpec], index: int) -> FeatureInfo:
    return FeatureInfo(units[index].out_channels, strides_behind(units)[index])


UNITS = tuple(units_of(ROWS))
ENDPOINTS = find_endpoints(UNITS)
TAPS = {name: describe(UNITS, index) for name, index in ENDPOINTS.items()}  # of the undilated network


class ResNetBeta(Backbone):
    """Stem, max pool and bottleneck units.

    Shapes: images [N, 3, H, W] -> {tap: [N, channels, ceil(H / stride), ceil(W / stride)]}. The max pool pads evenly;
    TensorFlow's does so too on sizes 4k + 1 (513), on others it does not.
    """

    def __init__(self, plan: ResNetPlan) -> None:
        super().__init__()
        self.feature_info = plan.feature_info
        self.endpoints = plan.endpoints
        self.stem = build_stem()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.units = nn.ModuleList(Bottleneck(spec) for spec in plan.units)
        initialize(self)

    def forward(self, images: Tensor) -> Features:
        features: Features = {}
        x = self.pool(self.stem(images))
        for index, unit in enumerate(self.units):
            x = unit(x)
            if name := self.endpoints.get(index):
                features[name] = x
        return features


def build_stem() -> nn.Sequential:
    first, second, third = STEM
    return nn.Sequential(
        ConvNormAct(3, first, 3, stride=2, activation=nn.ReLU(inplace=True)),
        ConvNormAct(first, second, 3, activation=nn.ReLU(inplace=True)),
        ConvNormAct(second, third, 3, activation=nn.ReLU(inplace=True)),
    )


class Bottleneck(nn.Module):
    """1x1 reduction, 3x3 convolution, linear 1x1 widening, added to the input (arXiv:1512.03385, Figure 5).

    The shortcut is a 1x1 convolution where the channels change, elsewhere the input, with a stride every other pixel
    of it. Shapes: [N, in_channels, H, W] -> [N, out_channels, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(self, spec: UnitSpec) -> None:
        super().__init__()
        channels = spec.bottleneck_channels
        self.reduce = ConvNormAct(spec.in_channels, channels, activation=nn.ReLU(inplace=True))
        self.convolve = ConvNormAct(
            channels, channels, 3, stride=spec.stride, dilation=spec.dilation, activation=nn.ReLU(inplace=True)
        )
        self.widen = ConvNormAct(channels, spec.out_channels)
        self.shortcut = build_shortcut(spec)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.activation(self.widen(self.convolve(self.reduce(x))) + self.shortcut(x))
        return output


def build_shortcut(spec: UnitSpec) -> nn.Module:
    if spec.in_channels != spec.out_channels:
        return ConvNormAct(spec.in_channels, spec.out_channels, stride=spec.stride)
    return nn.MaxPool2d(1, spec.stride) if spec.stride > 1 else nn.Identity()
