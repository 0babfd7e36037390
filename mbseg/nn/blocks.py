"""The building blocks of the MobileNets and of separable heads."""

from torch import Tensor, nn

from mbseg.nn.activation import Activation, make_activation
from mbseg.nn.conv import ConvNormAct, Padding


class InvertedResidual(nn.Module):
    """The one block of all MobileNets: 1x1 expansion, k x k depthwise, squeeze-and-excite, 1x1 projection.

    V2 (arXiv:1801.04381, Table 1) has no squeeze-and-excite. V1's depthwise-separable block (arXiv:1704.04861) is the
    one without an expansion and with an activation behind the projection.
    `expand` and `contract` are the two halves, so that a head may read the expanded map between them.
    Shapes: [N, in_channels, H, W] -> [N, expanded_channels, H, W] -> [N, out_channels, H / stride, W / stride].
    """

    def __init__(
        self,
        in_channels: int,
        expanded_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        activation: Activation = "relu6",
        squeeze_channels: int | None = None,
        linear: bool = True,
        shortcut: bool = False,
        padding: Padding = "symmetric",
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.expand = expansion(in_channels, expanded_channels, activation)
        self.depthwise = ConvNormAct(
            expanded_channels,
            expanded_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=expanded_channels,
            activation=make_activation(activation),
            padding=padding,
        )
        self.squeeze_excite = (
            nn.Identity() if squeeze_channels is None else SqueezeExcite(expanded_channels, squeeze_channels)
        )
        self.project = ConvNormAct(
            expanded_channels, out_channels, activation=None if linear else make_activation(activation)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(x, self.expand(x))

    def contract(self, x: Tensor, expanded: Tensor) -> Tensor:
        """The block's output, from its input and its expanded map."""
        projected: Tensor = self.project(self.squeeze_excite(self.depthwise(expanded)))
        return x + projected if self.shortcut else projected


class SqueezeExcite(nn.Module):
    """One factor in [0, 1] a channel, from the means of all channels (arXiv:1905.02244, section 5.3).

    Shapes: [N, channels, H, W] -> the same.
    """

    def __init__(self, channels: int, squeeze_channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze_channels, 1)
        self.activation = nn.ReLU(inplace=True)
        self.widen = nn.Conv2d(squeeze_channels, channels, 1)
        self.gate = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(self.widen(self.activation(self.reduce(self.pool(x)))))
        return x * gate


class ExpansionOnly(nn.Module):
    """The first half of an InvertedResidual: all that is built of a block whose expanded map is the deepest tap."""

    def __init__(self, in_channels: int, expanded_channels: int, activation: Activation) -> None:
        super().__init__()
        self.expand = expansion(in_channels, expanded_channels, activation)

    def forward(self, x: Tensor) -> Tensor:
        expanded: Tensor = self.expand(x)
        return expanded


def expansion(in_channels: int, expanded_channels: int, activation: Activation) -> nn.Module:
    """The 1x1 convolution that widens a bottleneck; nothing where there is nothing to widen."""
    if expanded_channels == in_channels:
        return nn.Identity()
    return ConvNormAct(in_channels, expanded_channels, activation=make_activation(activation))


def separable_conv(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3x3 depthwise and 1x1 pointwise convolution, each with batch norm and ReLU."""
    depthwise = ConvNormAct(
        in_channels, in_channels, 3, dilation=dilation, groups=in_channels, activation=nn.ReLU(inplace=True)
    )
    return nn.Sequential(depthwise, ConvNormAct(in_channels, out_channels, activation=nn.ReLU(inplace=True)))
