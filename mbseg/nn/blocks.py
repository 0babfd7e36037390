"""The building blocks of the MobileNets and of separable heads."""

from torch import Tensor, nn

from mbseg.nn.conv import ConvNormAct


class InvertedResidual(nn.Module):
    """MobileNetV2's bottleneck (arXiv:1801.04381, Table 1): 1x1 expansion, 3x3 depthwise, linear 1x1 projection.

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
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.expand = expansion(in_channels, expanded_channels)
        self.depthwise = ConvNormAct(
            expanded_channels,
            expanded_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=expanded_channels,
            activation=nn.ReLU6(inplace=True),
        )
        self.project = ConvNormAct(expanded_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(x, self.expand(x))

    def contract(self, x: Tensor, expanded: Tensor) -> Tensor:
        """The block's output, from its input and its expanded map."""
        projected: Tensor = self.project(self.depthwise(expanded))
        return x + projected if self.shortcut else projected


class ExpansionOnly(nn.Module):
    """The first half of an InvertedResidual: all that is built of a block whose expanded map is the deepest tap."""

    def __init__(self, in_channels: int, expanded_channels: int) -> None:
        super().__init__()
        self.expand = expansion(in_channels, expanded_channels)

    def forward(self, x: Tensor) -> Tensor:
        expanded: Tensor = self.expand(x)
        return expanded


def expansion(in_channels: int, expanded_channels: int) -> nn.Module:
    """The 1x1 convolution that widens a bottleneck; nothing where the expansion factor is 1."""
    if expanded_channels == in_channels:
        return nn.Identity()
    return ConvNormAct(in_channels, expanded_channels, activation=nn.ReLU6(inplace=True))


def separable_conv(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3x3 depthwise and 1x1 pointwise convolution, each with batch norm and ReLU."""
    depthwise = ConvNormAct(
        in_channels, in_channels, 3, dilation=dilation, groups=in_channels, activation=nn.ReLU(inplace=True)
    )
    return nn.Sequential(depthwise, ConvNormAct(in_channels, out_channels, activation=nn.ReLU(inplace=True)))
