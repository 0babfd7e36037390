"""From a paper's rows to the specs of single blocks: channels rounded, width applied, tail halved."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mbseg.backbones.tables import V2_LAST_CONV, V2_ROWS, V2_STEM, V2Row


@dataclass(frozen=True)
class BlockSpec:
    """One inverted residual, before anything is built."""

    in_channels: int
    expanded_channels: int
    out_channels: int
    stride: int
    shortcut: bool
    kernel_size: int = 3
    dilation: int = 1


@dataclass(frozen=True)
class NetworkSpec:
    """A whole MobileNet as data: stem, blocks, and the 1x1 convolution before the pooling."""

    stem_channels: int
    blocks: tuple[BlockSpec, ...]
    last_conv_channels: int


def mobilenet_v2_spec(width_mult: float, *, reduced_tail: bool = False) -> NetworkSpec:
    """MobileNetV2 (arXiv:1801.04381, Table 2) at a width.

    Below width 1 the last convolution keeps its 1280 channels (section 5 of the paper). `reduced_tail` halves the
    outputs of 160 and 320 and the last convolution (arXiv:1905.02244, section 6.4).
    """
    rows = tuple(halve_tail(V2_ROWS)) if reduced_tail else V2_ROWS
    last_conv = V2_LAST_CONV // 2 if reduced_tail else V2_LAST_CONV
    stem_channels = scale_channels(V2_STEM, width_mult)
    return NetworkSpec(
        stem_channels=stem_channels,
        blocks=tuple(blocks_of(rows, stem_channels, width_mult)),
        last_conv_channels=scale_channels(last_conv, max(1.0, width_mult)),
    )


def halve_tail(rows: Iterable[V2Row]) -> Iterator[V2Row]:
    """Rows of 160 and 320 channels at half of them; their expansions follow from the halved inputs."""
    for row in rows:
        yield row._replace(c=row.c // 2) if row.c in (160, 320) else row


def blocks_of(rows: Iterable[V2Row], in_channels: int, width_mult: float) -> Iterator[BlockSpec]:
    for row in rows:
        out_channels = scale_channels(row.c, width_mult)
        for repeat in range(row.n):
            stride = row.s if repeat == 0 else 1
            yield BlockSpec(
                in_channels=in_channels,
                expanded_channels=in_channels * row.t,
                out_channels=out_channels,
                stride=stride,
                shortcut=stride == 1 and in_channels == out_channels,
            )
            in_channels = out_channels


def scale_channels(printed: int, width_mult: float) -> int:
    return make_divisible(printed * width_mult)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that does not lose more than a tenth of the channels."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
