"""The segmentation heads by name: what each reads, what it can be asked for, and how it is built."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from torch import nn

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.zoo import default_head_at, default_low_at, known_taps
from mbseg.errors import ConfigError
from mbseg.heads.aspp import Aspp
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.heads.deeplabv3plus import DeepLabV3Plus
from mbseg.heads.lraspp import LRASPP

SMP = "smp:"
KEYS = {  # what may be set of each head; of smp's decoders, channels
    "deeplabv3": ("aspp", "at", "channels", "rates", "refine", "dropout"),
    "deeplabv3plus": ("aspp", "at", "low_at", "channels", "rates", "dropout"),
    "lraspp": ("at", "low_at", "channels"),
}
DEFAULT_ASPP: dict[str, Aspp] = {"deeplabv3": "none", "deeplabv3plus": "separable"}
DEFAULT_CHANNELS = {"deeplabv3": 256, "deeplabv3plus": 256, "lraspp": 128}
DROPOUT = 0.1


@dataclass(frozen=True)
class HeadOptions:
    """What a head is asked to be; None leaves the choice to it."""

    kind: str = "deeplabv3"
    aspp: Aspp | None = None
    at: str | None = None
    low_at: str | None = None
    channels: int | None = None
    rates: tuple[int, int, int] | None = None
    refine: bool = False
    dropout: float | None = None


def head_taps(options: HeadOptions, backbone: str) -> tuple[str, ...]:
    """The feature maps that the head of complete `options` reads."""
    if options.kind.startswith(SMP):
        from mbseg.heads.smp_adapter import smp_taps

        return smp_taps(options.kind.removeprefix(SMP), known_taps(backbone))
    return tuple(dict.fromkeys(tap for tap in (options.at, options.low_at) if tap))


def complete(options: HeadOptions, backbone: str) -> HeadOptions:
    """The options with the choices of the head `kind` on the backbone of that name filled in.

    Raises ConfigError for an unknown head and for what the head does not have.
    """
    if options.kind.startswith(SMP):
        check_keys(options, ("channels",))
        return options
    if options.kind not in KEYS:
        nearest = get_close_matches(options.kind, KEYS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(KEYS)} and smp:<decoder>"
        raise ConfigError(f"no head named {options.kind!r}; {hint}")
    check_keys(options, KEYS[options.kind])
    options = replace(options, at=options.at or default_head_at(backbone))
    return replace(
        options,
        low_at=options.low_at or default_low(options.kind, backbone),
        aspp=options.aspp or DEFAULT_ASPP.get(options.kind),
        channels=DEFAULT_CHANNELS[options.kind] if options.channels is None else options.channels,
        dropout=DROPOUT if options.dropout is None else options.dropout,
    )


def default_low(kind: str, backbone: str) -> str | None:
    if kind == "lraspp":
        return default_low_at(backbone)
    return "c2" if kind == "deeplabv3plus" else None


def check_keys(options: HeadOptions, allowed: tuple[str, ...]) -> None:
    plain = HeadOptions()
    for key, value in vars(options).items():
        if key not in ("kind", *allowed) and value != getattr(plain, key):
            raise ConfigError(f"head {options.kind} has no {key} (found {value!r}); it has {', '.join(allowed)}")
    if options.channels is not None and options.channels < 1:
        raise ConfigError(f"head_channels is {options.channels}; 1 or more are possible")


def build_head(
    options: HeadOptions, features: Mapping[str, FeatureInfo], *, num_classes: int, align_corners: bool
) -> nn.Module:
    """The head of complete `options` for a backbone that gives `features`. Raises ConfigError."""
    if options.kind.startswith(SMP):
        from mbseg.heads.smp_adapter import smp_head

        decoder = options.kind.removeprefix(SMP)
        return smp_head(decoder, features, num_classes=num_classes, channels=options.channels)
    assert options.at is not None and options.channels is not None and options.dropout is not None
    deep = features[options.at]
    if options.kind == "deeplabv3":
        assert options.aspp is not None
        return DeepLabV3(
            deep,
            at=options.at,
            num_classes=num_classes,
            aspp=options.aspp,
            channels=options.channels,
            rates=options.rates,
            refine=options.refine,
            dropout=options.dropout,
        )
    assert options.low_at is not None
    low = features[options.low_at]
    check_finer(options.at, deep, options.low_at, low)
    if options.kind == "lraspp":
        return LRASPP(
            deep,
            low,
            at=options.at,
            low_at=options.low_at,
            num_classes=num_classes,
            channels=options.channels,
            align_corners=align_corners,
        )
    assert options.aspp is not None
    return DeepLabV3Plus(
        deep,
        low,
        at=options.at,
        low_at=options.low_at,
        num_classes=num_classes,
        aspp=options.aspp,
        channels=options.channels,
        rates=options.rates,
        dropout=options.dropout,
        align_corners=align_corners,
    )


def check_finer(at: str, deep: FeatureInfo, low_at: str, low: FeatureInfo) -> None:
    if low.stride > deep.stride:
        raise ConfigError(f"low_at {low_at} has stride {low.stride}, coarser than {at} with {deep.stride}; swap them")
