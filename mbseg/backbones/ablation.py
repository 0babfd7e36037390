"""The MobileNetV2 paper's ablations as switches over finished specs (arXiv:1801.04381, section 6.2 and Figure 6)."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

from mbseg.backbones.blockspec import BlockSpec, NetworkSpec
from mbseg.errors import ConfigError

Bottleneck = Literal["linear", "activated"]
Shortcut = Literal["bottleneck", "expansion", "none"]


def ablate(network: NetworkSpec, bottleneck: Bottleneck, shortcut: Shortcut) -> NetworkSpec:
    """The network with another bottleneck or other shortcuts; the paper's own are "linear" and "bottleneck".

    Raises ConfigError for a network without bottlenecks (V1).
    """
    if (bottleneck, shortcut) == ("linear", "bottleneck"):
        return network
    if not all(block.linear for block in network.blocks):
        raise ConfigError(
            f"bottleneck {bottleneck!r} with shortcut {shortcut!r} needs a network with bottlenecks (V2 or V3); "
            f"leave both keys away"
        )
    if bottleneck == "activated":
        network = replace(network, blocks=tuple(replace(block, linear=False) for block in network.blocks))
    if shortcut != "bottleneck":
        network = replace(network, blocks=tuple(replace(block, shortcut=False) for block in network.blocks))
    return join_expansions(network) if shortcut == "expansion" else network


def join_expansions(network: NetworkSpec) -> NetworkSpec:
    """The expanded map of a block is added to that of the next one wherever both have one shape."""
    first, *_ = network.blocks
    joined = (replace(block, joins_expansions=match(before, block)) for before, block in pairwise(network.blocks))
    return replace(network, blocks=(first, *joined))


def match(before: BlockSpec, block: BlockSpec) -> bool:
    return before.stride == 1 and before.expanded_channels == block.expanded_channels
