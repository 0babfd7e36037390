"""The plan of a backbone for an output stride: which blocks are dilated, which maps are read, where building ends.

Pure functions over specs. Modules are built from the finished plan, never patched afterwards.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.blockspec import BlockSpec, NetworkSpec
from mbseg.errors import ConfigError
from mbseg.nn.activation import Activation

OUTPUT_STRIDES = (8, 16, 32)
UNDILATED = 32
STEM = -1  # stands before block 0
STEM_STRIDE = 2
LAST_CONV = "last_conv"

DilationPlan = Literal["standard", "torchvision"]


@dataclass(frozen=True)
class Endpoint:
    """Where a tap lies: behind block `block`, or in the middle of it on its expanded map."""

    block: int
    expanded: bool


@dataclass(frozen=True)
class BackbonePlan:
    """All that a backbone needs to be built."""

    stem_channels: int
    blocks: tuple[BlockSpec, ...]  # dilated; nothing behind the deepest tap
    ends_expanded: bool  # of the last block only the expansion is built
    last_conv_channels: int | None  # None: not built
    last_conv_stride: int  # in cells of the map before it
    endpoints: dict[str, Endpoint]
    feature_info: dict[str, FeatureInfo]
    activation: Activation  # of stem and last convolution


def plan(
    network: NetworkSpec,
    output_stride: int,
    taps: Sequence[str],
    kind: DilationPlan = "standard",
    *,
    coarse_last_conv: bool = False,
) -> BackbonePlan:
    """The plan that gives the feature maps `taps` at `output_stride` (8, 16 or 32) and builds nothing else.

    `kind` "torchvision" is for weights that were trained dilated by torchvision (see `dilate`). `coarse_last_conv`
    computes the last convolution only where the undilated network would.
    Raises ConfigError for another output stride, for an unknown tap and for no tap at all.
    """
    check_output_stride(output_stride)
    known = find_endpoints(network.blocks)
    check_taps(taps, tap_names(network))
    endpoints = {name: known[name] for name in taps if name != LAST_CONV}
    deepest = max(endpoints.values(), key=lambda end: (end.block, not end.expanded), default=None)
    with_last_conv = LAST_CONV in taps
    if with_last_conv or deepest is None:
        deepest = Endpoint(len(network.blocks) - 1, expanded=False)
    blocks = tuple(dilate(network.blocks, output_stride, kind))
    last_conv_stride = stride_behind(network.blocks) // stride_behind(blocks) if coarse_last_conv else 1
    return BackbonePlan(
        stem_channels=network.stem_channels,
        blocks=blocks[: deepest.block + 1],
        ends_expanded=deepest.expanded,
        last_conv_channels=network.last_conv_channels if with_last_conv else None,
        last_conv_stride=last_conv_stride,
        endpoints=endpoints,
        feature_info={name: describe(name, network, blocks, known, last_conv_stride) for name in taps},
        activation=network.activation,
    )


def tap_names(network: NetworkSpec) -> list[str]:
    """Every feature map that can be read."""
    return [*find_endpoints(network.blocks), *([LAST_CONV] if network.last_conv_channels else [])]


def dilate(blocks: Iterable[BlockSpec], output_stride: int, kind: DilationPlan = "standard") -> Iterator[BlockSpec]:
    """Strides beyond `output_stride` become dilation (atrous convolution, arXiv:1706.05587, section 3.1).

    The block that loses its stride keeps the rate so far, because its input is not yet decimated; the blocks behind
    it get the grown rate. Pretrained weights then give the very features of the undilated network, computed at more
    positions. torchvision dilates that first block too, which loses them; weights that were trained so need it.
    """
    stride, rate = STEM_STRIDE, 1
    for block in blocks:
        if stride * block.stride > output_stride:
            grown = rate * block.stride
            yield replace(block, stride=1, dilation=grown if kind == "torchvision" else rate)
            rate = grown
        else:
            stride *= block.stride
            yield replace(block, dilation=rate)


def find_endpoints(blocks: Sequence[BlockSpec]) -> dict[str, Endpoint]:
    """Taps of an undilated network.

    `cN` is the last map of stride 2^N, `cN_entry` the first one where that is another, and `cN_expansion` the wide map
    inside the block that leaves the stride, where it has one.
    """
    endpoints: dict[str, Endpoint] = {}
    level, entry = 1, STEM
    for index, block in enumerate(blocks):
        if block.stride > 1:
            endpoints |= ends_of(level, entry, index - 1)
            if block.expanded_channels > block.in_channels:
                endpoints[f"c{level}_expansion"] = Endpoint(index, expanded=True)
            level, entry = level + 1, index
    return endpoints | ends_of(level, entry, len(blocks) - 1)


def ends_of(level: int, first: int, last: int) -> dict[str, Endpoint]:
    ends = {f"c{level}": Endpoint(last, expanded=False)}
    return ends if first == last else ends | {f"c{level}_entry": Endpoint(first, expanded=False)}


def describe(
    name: str,
    network: NetworkSpec,
    blocks: Sequence[BlockSpec],
    endpoints: dict[str, Endpoint],
    last_conv_stride: int,
) -> FeatureInfo:
    """Channels and stride of a tap; `blocks` are the dilated ones."""
    if name == LAST_CONV:
        assert network.last_conv_channels is not None
        return FeatureInfo(network.last_conv_channels, stride_behind(blocks) * last_conv_stride)
    block, expanded = endpoints[name].block, endpoints[name].expanded
    if block == STEM:
        return FeatureInfo(network.stem_channels, STEM_STRIDE)
    if expanded:
        return FeatureInfo(blocks[block].expanded_channels, stride_behind(blocks[:block]))
    return FeatureInfo(blocks[block].out_channels, stride_behind(blocks[: block + 1]))


def stride_behind(blocks: Iterable[BlockSpec]) -> int:
    stride = STEM_STRIDE
    for block in blocks:
        stride *= block.stride
    return stride


def check_output_stride(output_stride: int) -> None:
    if output_stride not in OUTPUT_STRIDES:
        raise ConfigError(f"output stride {output_stride} is not possible; 8, 16 and 32 are")


def check_taps(taps: Sequence[str], known: Sequence[str]) -> None:
    if not taps:
        raise ConfigError(f"no feature map asked for; name one or more of {sorted(known)}")
    if unknown := sorted(set(taps) - set(known)):
        raise ConfigError(f"no feature map named {unknown}; this backbone has {sorted(known)}")
