"""The backbones by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mbseg.backbones import blockspec, resnet_beta
from mbseg.backbones.ablation import ablate
from mbseg.backbones.base import Backbone, FeatureInfo
from mbseg.backbones.blockspec import NetworkSpec, ReducedTail, Width, minimal
from mbseg.backbones.dilation import plan, tap_names
from mbseg.backbones.mobilenet import MobileNet
from mbseg.backbones.variant import AS_PUBLISHED, Variant
from mbseg.errors import ConfigError
from mbseg.naming import hint

TIMM = "timm:"
RESNET = "resnet101_beta"


class Family(NamedTuple):
    """How one MobileNet is specified."""

    spec: Callable[[Width, ReducedTail | None], NetworkSpec]
    head_at: str  # the tap a segmentation head reads unless told otherwise
    low_at: str  # LR-ASPP's second tap: the expanded map at stride 8 where there is one
    source: str


def v3_minimal(spec: Callable[[Width, ReducedTail | None], NetworkSpec]) -> Family:
    return Family(
        lambda width, reduced_tail: minimal(spec(width, reduced_tail)),
        "last_conv",
        "c3_expansion",
        "arXiv:1905.02244; TensorFlow's minimalistic models",
    )


MOBILENETS = {
    "mobilenet_v1": Family(blockspec.mobilenet_v1_spec, "c5", "c3", "arXiv:1704.04861"),
    "mobilenet_v2": Family(blockspec.mobilenet_v2_spec, "c5", "c3_expansion", "arXiv:1801.04381"),
    "mobilenet_v3_large": Family(blockspec.mobilenet_v3_large_spec, "last_conv", "c3_expansion", "arXiv:1905.02244"),
    "mobilenet_v3_small": Family(blockspec.mobilenet_v3_small_spec, "last_conv", "c3_expansion", "arXiv:1905.02244"),
    "mobilenet_v3_large_minimal": v3_minimal(blockspec.mobilenet_v3_large_spec),
    "mobilenet_v3_small_minimal": v3_minimal(blockspec.mobilenet_v3_small_spec),
    "fd_mobilenet": Family(blockspec.fd_mobilenet_spec, "c5", "c3", "arXiv:1802.03750"),
}


@dataclass(frozen=True)
class PlannedBackbone:
    """A backbone that can be built, and what it will give."""

    feature_info: dict[str, FeatureInfo]
    build: Callable[[], Backbone]


def plan_backbone(
    name: str,
    *,
    width_mult: float = 1.0,
    output_stride: int = 32,
    taps: Sequence[str] = ("c2", "c3", "c4", "c5"),
    reduced_tail: ReducedTail | None = None,
    variant: Variant = AS_PUBLISHED,
) -> PlannedBackbone:
    """The backbone that gives the maps `taps`. Raises ConfigError for what it cannot do, before anything is built."""
    check_name(name)
    if name in MOBILENETS:
        network = network_spec(name, width_mult, reduced_tail, variant)
        mobilenet = plan(network, output_stride, taps, variant.dilation_plan, coarse_last_conv=variant.coarse_last_conv)
        return PlannedBackbone(mobilenet.feature_info, lambda: MobileNet(mobilenet, padding=variant.padding))
    check_plain(name, width_mult, reduced_tail, variant)
    if name == RESNET:
        resnet = resnet_beta.plan(output_stride, taps)
        return PlannedBackbone(resnet.feature_info, lambda: resnet_beta.ResNetBeta(resnet))
    from mbseg.backbones import timm_adapter  # timm takes a second to import

    other = timm_adapter.plan(name.removeprefix(TIMM), output_stride, taps)
    return PlannedBackbone(other.feature_info, lambda: timm_adapter.TimmBackbone(other))


def network_spec(
    name: str, width_mult: float = 1.0, reduced_tail: ReducedTail | None = None, variant: Variant = AS_PUBLISHED
) -> NetworkSpec:
    """A MobileNet as data."""
    width = Width(width_mult, variant.channel_divisor, variant.narrow_last_conv)
    network = MOBILENETS[name].spec(width, reduced_tail)
    return ablate(network, variant.bottleneck, variant.shortcut)


def known_taps(name: str) -> list[str]:
    """The names of all feature maps of a backbone. Raises ConfigError for an unknown backbone."""
    check_name(name)
    if name in MOBILENETS:
        return tap_names(network_spec(name))
    if name == RESNET:
        return list(resnet_beta.TAPS)
    from mbseg.backbones.timm_adapter import timm_taps

    return list(timm_taps(name.removeprefix(TIMM)))


def default_head_at(name: str) -> str:
    check_name(name)
    return MOBILENETS[name].head_at if name in MOBILENETS else "c5"


def default_low_at(name: str) -> str:
    check_name(name)
    return MOBILENETS[name].low_at if name in MOBILENETS else "c3"


def check_name(name: str) -> None:
    """Raises ConfigError for a name that is not in the zoo."""
    names = [*MOBILENETS, RESNET]
    if name in names or name.startswith(TIMM):
        return
    raise ConfigError(f"no backbone named {name!r}; {hint(name, [*names, 'timm:<name>'])}")


def check_plain(name: str, width_mult: float, reduced_tail: ReducedTail | None, variant: Variant) -> None:
    """Only the MobileNets come in widths and variants."""
    if width_mult != 1:
        raise ConfigError(f"{name} has no widths: set width_mult to 1, not {width_mult:g}")
    if reduced_tail:
        raise ConfigError(f"{name} has no reduced tail: set reduced_tail to false")
    if variant != AS_PUBLISHED:
        changed = [f"{key}={value}" for key, value in vars(variant).items() if value != getattr(AS_PUBLISHED, key)]
        raise ConfigError(f"{name} comes only as published; leave {', '.join(changed)} away")
