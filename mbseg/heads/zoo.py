"""The segmentation heads by name: what each can be asked for, what it reads, and how it is built."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import nn

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.zoo import default_head_at, default_low_at, known_taps
from mbseg.errors import ConfigError
from mbseg.heads.aspp import Aspp
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.heads.deeplabv3plus import DeepLabV3Plus
from mbseg.heads.lraspp import LRASPP
from mbseg.naming import hint

SMP = "smp:"
DROPOUT = 0.1
LARGEST = 8192

Infos = Mapping[str, FeatureInfo]


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


@dataclass(frozen=True)
class PlannedHead:
    """A head that can be built: its choices, and the feature maps that it reads."""

    options: HeadOptions
    taps: tuple[str, ...]
    build: Callable[[Infos, int, bool], nn.Module]  # (features, num_classes, align_corners)


class HeadFamily(NamedTuple):
    """One kind of head."""

    plan: Callable[[HeadOptions, str], PlannedHead]  # of the options and the backbone's name
    keys: tuple[str, ...]  # what may be set
    source: str


def plan_head(options: HeadOptions, backbone: str) -> PlannedHead:
    """The head of these options on the backbone of that name.

    Raises ConfigError, before anything is built, for an unknown kind and for what the kind does not have.
    """
    check_values(options)
    if options.kind.startswith(SMP):
        check_keys(options, ("channels",))
        return plan_smp(options, backbone)
    if options.kind not in HEADS:
        raise ConfigError(f"no head named {options.kind!r}; {hint(options.kind, [*HEADS, 'smp:<decoder>'])}")
    check_keys(options, HEADS[options.kind].keys)
    return HEADS[options.kind].plan(options, backbone)


def plan_deeplabv3(options: HeadOptions, backbone: str) -> PlannedHead:
    at = options.at or default_head_at(backbone)
    aspp: Aspp = options.aspp or "none"
    channels, dropout = options.channels or 256, dropout_of(options)
    check_rates(options, aspp)

    def build(features: Infos, num_classes: int, _align_corners: bool) -> nn.Module:
        return DeepLabV3(
            features[at],
            at=at,
            num_classes=num_classes,
            aspp=aspp,
            channels=channels,
            rates=options.rates,
            refine=options.refine,
            dropout=dropout,
        )

    chosen = replace(options, at=at, aspp=aspp, channels=channels, dropout=dropout)
    return PlannedHead(chosen, (at,), build)


def plan_deeplabv3plus(options: HeadOptions, backbone: str) -> PlannedHead:
    at, low_at = options.at or default_head_at(backbone), options.low_at or "c2"
    aspp: Aspp = options.aspp or "separable"
    channels, dropout = options.channels or 256, dropout_of(options)
    check_rates(options, aspp)

    def build(features: Infos, num_classes: int, align_corners: bool) -> nn.Module:
        check_finer(at, low_at, features)
        return DeepLabV3Plus(
            features[at],
            features[low_at],
            at=at,
            low_at=low_at,
            num_classes=num_classes,
            aspp=aspp,
            channels=channels,
            rates=options.rates,
            dropout=dropout,
            align_corners=align_corners,
        )

    chosen = replace(options, at=at, low_at=low_at, aspp=aspp, channels=channels, dropout=dropout)
    return PlannedHead(chosen, (at, low_at), build)


def plan_lraspp(options: HeadOptions, backbone: str) -> PlannedHead:
    at, low_at = options.at or default_head_at(backbone), options.low_at or default_low_at(backbone)
    channels = options.channels or 128

    def build(features: Infos, num_classes: int, align_corners: bool) -> nn.Module:
        check_finer(at, low_at, features)
        deep, low = features[at], features[low_at]
        return LRASPP(
            deep, low, at=at, low_at=low_at, num_classes=num_classes, channels=channels, align_corners=align_corners
        )

    return PlannedHead(replace(options, at=at, low_at=low_at, channels=channels), (at, low_at), build)


def plan_smp(options: HeadOptions, backbone: str) -> PlannedHead:
    from mbseg.heads.smp_adapter import smp_head, smp_taps  # smp takes seconds to import

    decoder = options.kind.removeprefix(SMP)

    def build(features: Infos, num_classes: int, _align_corners: bool) -> nn.Module:
        return smp_head(decoder, features, num_classes=num_classes, channels=options.channels)

    return PlannedHead(options, smp_taps(decoder, known_taps(backbone)), build)


HEADS = {
    "deeplabv3": HeadFamily(
        plan_deeplabv3, ("aspp", "at", "channels", "rates", "refine", "dropout"), "arXiv:1706.05587"
    ),
    "deeplabv3plus": HeadFamily(
        plan_deeplabv3plus, ("aspp", "at", "low_at", "channels", "rates", "dropout"), "arXiv:1802.02611"
    ),
    "lraspp": HeadFamily(plan_lraspp, ("at", "low_at", "channels"), "arXiv:1905.02244"),
}


def dropout_of(options: HeadOptions) -> float:
    return DROPOUT if options.dropout is None else options.dropout


def check_values(options: HeadOptions) -> None:
    if options.channels is not None and not is_number(options.channels, 1, LARGEST):
        raise ConfigError(f"head_channels is {options.channels!r}; whole numbers from 1 to {LARGEST} are possible")
    rates = options.rates
    if rates is not None and not (
        isinstance(rates, Sequence) and len(rates) == 3 and all(is_number(rate, 1, LARGEST) for rate in rates)
    ):
        raise ConfigError(f"rates are {rates!r}; three whole numbers from 1 to {LARGEST} are possible")
    if options.dropout is not None and not (isinstance(options.dropout, int | float) and 0 <= options.dropout < 1):
        raise ConfigError(f"dropout is {options.dropout!r}; 0 or more, and less than 1, is possible")


def is_number(value: object, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and lowest <= value <= highest


def check_keys(options: HeadOptions, allowed: tuple[str, ...]) -> None:
    plain = HeadOptions()
    for key, value in vars(options).items():
        if key not in ("kind", *allowed) and value != getattr(plain, key):
            has = ", ".join(allowed)
            raise ConfigError(f"head {options.kind} has no {key} (found {value!r}): set it to null; it has {has}")


def check_rates(options: HeadOptions, aspp: Aspp) -> None:
    if options.rates is not None and aspp == "none":
        raise ConfigError(f"rates {list(options.rates)} are those of ASPP, which is none; set aspp or leave rates away")


def check_finer(at: str, low_at: str, features: Infos) -> None:
    if low_at == at:
        raise ConfigError(f"low_at is {low_at}, the very map that the head reads already; name a finer one")
    if features[low_at].stride > features[at].stride:
        raise ConfigError(
            f"low_at {low_at} has stride {features[low_at].stride}, coarser than {at} with {features[at].stride}; "
            f"swap them"
        )
