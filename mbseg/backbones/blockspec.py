"""From a paper's rows to the specs of single blocks: channels rounded, width applied, tail halved."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mbseg.backbones import tables
from mbseg.backbones.tables import V1Row, V2Row, V3Row
from mbseg.errors import ConfigError
from mbseg.nn.activation import Activation

ReducedTail = Literal["segmentation", "detection"]


@dataclass(frozen=True)
class BlockSpec:
    """One block, before anything is built."""

    in_channels: int
    expanded_channels: int
    out_channels: int
    stride: int
    shortcut: bool = False  # the input is added to the output
    joins_expansions: bool = False  # the expanded map of the block before is added to this one's (ablation)
    linear: bool = True  # no activation behind the projection
    kernel_size: int = 3
    dilation: int = 1
    activation: Activation = "relu6"
    squeeze_channels: int | None = None  # None: no squeeze-and-excite


@dataclass(frozen=True)
class NetworkSpec:
    """A whole MobileNet as data: stem, blocks and, where it has one, the 1x1 convolution before the pooling."""

    stem_channels: int
    blocks: tuple[BlockSpec, ...]
    last_conv_channels: int | None
    activation: Activation  # of stem and last convolution


@dataclass(frozen=True)
class Width:
    """The channel multiplier (the papers' alpha) and what channels are rounded to."""

    mult: float = 1.0
    divisor: int = 8  # 1: not rounded, as in some TensorFlow models
    narrow_last_conv: bool = False  # below 1 V2's last convolution shrinks too, as in its detectors

    def __call__(self, printed: float) -> int:
        return make_divisible(printed * self.mult, self.divisor)


def mobilenet_v1_spec(width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    """MobileNetV1 (arXiv:1704.04861, Table 1). Raises ConfigError for a reduced tail: no paper defines one."""
    return separable_spec("mobilenet_v1", tables.V1_ROWS, width, reduced_tail)


def fd_mobilenet_spec(width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    """FD-MobileNet (arXiv:1802.03750): V1's blocks, the stride spent earlier. Raises ConfigError as V1 does."""
    return separable_spec("fd_mobilenet", tables.FD_ROWS, width, reduced_tail)


def separable_spec(name: str, rows: Iterable[V1Row], width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    if reduced_tail:
        raise ConfigError(f"{name} has no reduced tail; MobileNetV2 and V3 have one")
    stem_channels = width(tables.V1_STEM)
    blocks = tuple(v1_blocks(rows, stem_channels, width))
    return NetworkSpec(stem_channels, blocks, last_conv_channels=None, activation="relu6")


def v1_blocks(rows: Iterable[V1Row], in_channels: int, width: Width) -> Iterator[BlockSpec]:
    for row in rows:
        for repeat in range(row.n):
            stride = row.s if repeat == 0 else 1
            yield BlockSpec(in_channels, in_channels, width(row.c), stride, linear=False)
            in_channels = width(row.c)


def mobilenet_v2_spec(width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    """MobileNetV2 (arXiv:1801.04381, Table 2).

    Below width 1 the last convolution keeps its 1280 channels (section 5 of the paper) unless `width` says otherwise.
    A reduced tail (both kinds) halves the outputs of 160 and 320 and the last convolution; expansions follow from the
    halved inputs.
    """
    rows = tuple(halve_v2_tail(tables.V2_ROWS)) if reduced_tail else tables.V2_ROWS
    last_conv = tables.V2_LAST_CONV // 2 if reduced_tail else tables.V2_LAST_CONV
    last_width = width if width.narrow_last_conv else replace(width, mult=max(1.0, width.mult))
    stem_channels = width(tables.V2_STEM)
    return NetworkSpec(
        stem_channels,
        tuple(v2_blocks(rows, stem_channels, width)),
        last_conv_channels=last_width(last_conv),
        activation="relu6",
    )


def halve_v2_tail(rows: Iterable[V2Row]) -> Iterator[V2Row]:
    for row in rows:
        yield row._replace(c=row.c // 2) if row.c in (160, 320) else row


def v2_blocks(rows: Iterable[V2Row], in_channels: int, width: Width) -> Iterator[BlockSpec]:
    for row in rows:
        out_channels = width(row.c)
        for repeat in range(row.n):
            stride = row.s if repeat == 0 else 1
            shortcut = stride == 1 and in_channels == out_channels
            yield BlockSpec(in_channels, in_channels * row.t, out_channels, stride, shortcut)
            in_channels = out_channels


def mobilenet_v3_large_spec(width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    """MobileNetV3-Large (arXiv:1905.02244, Table 1)."""
    return v3_spec(tables.V3_LARGE_ROWS, tables.V3_LARGE_LAST_CONV, width, reduced_tail)


def mobilenet_v3_small_spec(width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    """MobileNetV3-Small (arXiv:1905.02244, Table 2)."""
    return v3_spec(tables.V3_SMALL_ROWS, tables.V3_SMALL_LAST_CONV, width, reduced_tail)


def v3_spec(rows: Sequence[V3Row], last_conv: int, width: Width, reduced_tail: ReducedTail | None) -> NetworkSpec:
    """A reduced tail halves the outputs of the last three blocks and the last convolution.

    In segmentation (the paper's RF2, section 6.4) their expansions are halved too; in detection (section 6.3) the
    expansions follow from the inputs, so that the first of the three keeps its own.
    """
    if reduced_tail:
        rows = tuple(halve_v3_tail(rows, first_expansion_too=reduced_tail == "segmentation"))
        last_conv //= 2
    stem_channels = max(tables.V3_STEM, width(tables.V3_STEM))  # narrower networks keep it, in everyone's weights
    blocks = tuple(v3_blocks(rows, stem_channels, width))
    return NetworkSpec(stem_channels, blocks, last_conv_channels=width(last_conv), activation="hardswish")


def halve_v3_tail(rows: Sequence[V3Row], *, first_expansion_too: bool) -> Iterator[V3Row]:
    first, *others = rows[-tables.V3_TAIL :]
    yield from rows[: -tables.V3_TAIL]
    yield first._replace(exp=first.exp // 2 if first_expansion_too else first.exp, out=first.out // 2)
    for row in others:
        yield row._replace(exp=row.exp // 2, out=row.out // 2)


def v3_blocks(rows: Iterable[V3Row], in_channels: int, width: Width) -> Iterator[BlockSpec]:
    """At other widths an expansion keeps its printed ratio to the block's input, as in the authors' code."""
    printed_input = tables.V3_STEM
    for row in rows:
        expanded = make_divisible(in_channels * row.exp / printed_input, width.divisor)
        out_channels = width(row.out)
        yield BlockSpec(
            in_channels,
            expanded,
            out_channels,
            row.s,
            shortcut=row.s == 1 and in_channels == out_channels,
            kernel_size=row.kernel,
            activation="hardswish" if row.nl == "HS" else "relu",
            squeeze_channels=make_divisible(expanded / 4) if row.se else None,
        )
        in_channels, printed_input = out_channels, row.out


def minimal(network: NetworkSpec) -> NetworkSpec:
    """V3 for integer hardware: 3x3 kernels, ReLU, no squeeze-and-excite (TensorFlow's "minimalistic" models)."""
    blocks = (replace(block, kernel_size=3, activation="relu", squeeze_channels=None) for block in network.blocks)
    return replace(network, blocks=tuple(blocks), activation="relu")


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that does not lose more than a tenth of the channels."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
