"""Which MobileNet a foreign file holds, told by the shapes of all its blocks."""

import contextlib
import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from mbseg.backbones.blockspec import NetworkSpec, ReducedTail, Width
from mbseg.backbones.dilation import dilate, stride_behind
from mbseg.backbones.zoo import MOBILENETS
from mbseg.errors import ConfigError, WeightsError

NEAR = 0.05  # a width lies so near to what the channels of the last block say; they may be rounded
DIVISORS = (8, 1)


def recognize(found: NetworkSpec, origin: str, tail: ReducedTail = "segmentation") -> dict[str, Any]:
    """The `backbone` section of a config that builds this very network, whose blocks are dilated as in the file.

    Without a last convolution in the file, `found` has None there. `tail` is the reduced one that a config of this task
    can ask for. Raises WeightsError if there is no such section.
    """
    for section, network in candidates(found, tail):
        if matches(found, network):
            return section
    last = found.blocks[-1]
    raise WeightsError(
        f"{origin} holds no backbone that mbseg knows: its {len(found.blocks)} blocks, from {found.stem_channels} to "
        f"{last.out_channels} channels at stride {stride_behind(found.blocks)}, are none of {', '.join(MOBILENETS)} "
        f"at any width"
    )


def candidates(found: NetworkSpec, tail: ReducedTail) -> Iterator[tuple[dict[str, Any], NetworkSpec]]:
    """Every network of as many blocks, at the widths that the last block's channels allow, the nearest first."""
    for name, reduced in product(MOBILENETS, (None, tail)):
        with contextlib.suppress(ConfigError):  # V1 has no reduced tail
            printed = MOBILENETS[name].spec(Width(), reduced).blocks
            widths = widths_near(found.blocks[-1].out_channels / printed[-1].out_channels)
            for mult, divisor in product(widths, DIVISORS) if len(printed) == len(found.blocks) else ():
                width = Width(mult, divisor, narrow_last_conv=tail == "detection" and mult < 1)
                yield backbone_section(name, mult, divisor, reduced), MOBILENETS[name].spec(width, reduced)


def backbone_section(name: str, width: float, divisor: int, tail: ReducedTail | None) -> dict[str, Any]:
    """TensorFlow's files all pad by the picture's size."""
    section: dict[str, Any] = {"name": name, "width_mult": width, "padding": "tensorflow"}
    if divisor != DIVISORS[0]:
        section["channel_divisor"] = divisor
    return section | {"reduced_tail": True} if tail else section


def widths_near(ratio: float) -> list[float]:
    """The hundredths about `ratio` that a config may have, the nearest first."""
    near = range(math.floor(100 * (ratio - NEAR)), math.ceil(100 * (ratio + NEAR)) + 1)
    return sorted((width / 100 for width in near if 10 <= width <= 400), key=lambda width: abs(width - ratio))


def matches(found: NetworkSpec, network: NetworkSpec) -> bool:
    """Whether stem, blocks (dilated for the file's output stride) and last convolution are the network's."""
    theirs, ours = ([one.stem_channels, one.activation, one.last_conv_channels] for one in (found, network))
    if found.last_conv_channels is None:
        theirs, ours = theirs[:2], ours[:2]
    return theirs == ours and list(found.blocks) == list(dilate(network.blocks, stride_behind(found.blocks)))
