"""The one class that builds every MobileNet from its plan."""

from typing import cast

from torch import Tensor, nn

from mbseg.backbones.base import Backbone, Features
from mbseg.backbones.blockspec import BlockSpec
from mbseg.backbones.dilation import LAST_CONV, STEM, BackbonePlan
from mbseg.nn.activation import make_activation
from mbseg.nn.blocks import ExpansionOnly, InvertedResidual
from mbseg.nn.conv import ConvNormAct, Padding
from mbseg.nn.init import initialize


class MobileNet(Backbone):
    """Stem, blocks and, where it is read, the last 1x1 convolution.

    Shapes: images [N, 3, H, W] -> {tap: [N, channels, ceil(H / stride), ceil(W / stride)]}.
    """

    def __init__(self, plan: BackbonePlan, *, padding: Padding = "symmetric") -> None:
        super().__init__()
        self.feature_info = plan.feature_info
        self.padding = padding
        self.names = {(end.block, end.expanded): name for name, end in plan.endpoints.items()}
        self.joins = tuple(block.joins_expansions for block in plan.blocks)
        self.stem = ConvNormAct(
            3, plan.stem_channels, 3, stride=2, activation=make_activation(plan.activation), padding=padding
        )
        self.blocks = nn.ModuleList(build_blocks(plan, padding))
        self.last_conv = build_last_conv(plan)
        initialize(self)

    def forward(self, images: Tensor) -> Features:
        features: Features = {}
        x = expanded = self.stem(images)
        self._keep(features, STEM, x, is_expanded=False)
        for index, module in enumerate(self.blocks):
            block = cast(InvertedResidual | ExpansionOnly, module)
            expanded = block.expand(x) + expanded if self.joins[index] else block.expand(x)
            self._keep(features, index, expanded, is_expanded=True)
            if isinstance(block, InvertedResidual):
                x = block.contract(x, expanded)
                self._keep(features, index, x, is_expanded=False)
        if self.last_conv is not None:
            features[LAST_CONV] = self.last_conv(x)
        return features

    def _keep(self, features: Features, index: int, x: Tensor, *, is_expanded: bool) -> None:
        if name := self.names.get((index, is_expanded)):
            features[name] = x


def build_blocks(plan: BackbonePlan, padding: Padding) -> list[nn.Module]:
    specs = plan.blocks[:-1] if plan.ends_expanded else plan.blocks
    blocks = [build_block(spec, padding) for spec in specs]
    if plan.ends_expanded:
        last = plan.blocks[-1]
        blocks.append(ExpansionOnly(last.in_channels, last.expanded_channels, last.activation))
    return blocks


def build_block(spec: BlockSpec, padding: Padding) -> nn.Module:
    return InvertedResidual(
        spec.in_channels,
        spec.expanded_channels,
        spec.out_channels,
        kernel_size=spec.kernel_size,
        stride=spec.stride,
        dilation=spec.dilation,
        activation=spec.activation,
        squeeze_channels=spec.squeeze_channels,
        linear=spec.linear,
        shortcut=spec.shortcut,
        padding=padding,
    )


def build_last_conv(plan: BackbonePlan) -> nn.Module | None:
    if plan.last_conv_channels is None:
        return None
    activation, channels = make_activation(plan.activation), plan.blocks[-1].out_channels
    return ConvNormAct(channels, plan.last_conv_channels, stride=plan.last_conv_stride, activation=activation)
