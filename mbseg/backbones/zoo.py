"""The backbones by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mbseg.backbones.base import Backbone
from mbseg.backbones.blockspec import NetworkSpec, mobilenet_v2_spec
from mbseg.backbones.dilation import plan
from mbseg.backbones.mobilenet import MobileNet
from mbseg.errors import ConfigError


class Entry(NamedTuple):
    """How one backbone is specified."""

    spec: Callable[..., NetworkSpec]  # (width_mult, *, reduced_tail)
    head_at: str  # the tap a segmentation head reads unless told otherwise


ZOO = {
    "mobilenet_v2": Entry(mobilenet_v2_spec, head_at="c5"),
}


def entry(name: str) -> Entry:
    """Raises ConfigError for a name that is not in the zoo."""
    if name not in ZOO:
        raise ConfigError(f"no backbone named {name!r}; there are {sorted(ZOO)}")
    return ZOO[name]


def build_backbone(
    name: str,
    *,
    width_mult: float = 1.0,
    output_stride: int = 32,
    taps: Sequence[str] = ("c2", "c3", "c4", "c5"),
    reduced_tail: bool = False,
) -> Backbone:
    """A freshly initialised backbone that gives the maps `taps`. Raises ConfigError for what it cannot do."""
    network = entry(name).spec(width_mult, reduced_tail=reduced_tail)
    return MobileNet(plan(network, output_stride, taps))
