"""Every timm model that gives feature maps of pictures of any size, as a backbone: `timm:<name>`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from mbseg.backbones.base import Backbone, FeatureInfo, Features
from mbseg.backbones.dilation import UNDILATED, check_output_stride, check_taps
from mbseg.errors import ConfigError, first_line

TAP_STRIDES = {2: "c1", 4: "c2", 8: "c3", 16: "c4", 32: "c5"}
TRIAL_SIZE = (97, 131)  # pixels; no multiples of anything, as pictures are
OWN_FEATURE_CLASS = ("mobilenetv3", "hardcorenas")  # timm's modules whose models only their own class can dilate


@dataclass(frozen=True)
class TimmPlan:
    """All that a TimmBackbone needs to be built."""

    name: str  # timm's, with or without the tag of its weights
    output_stride: int
    out_indices: tuple[int, ...]  # timm's numbers of the maps, ascending
    feature_info: dict[str, FeatureInfo]  # in the same order


class TimmMap(NamedTuple):
    """One feature map as timm describes it."""

    out_index: int
    channels: int
    stride: int


class TimmBackbone(Backbone):
    """A network of timm, cut off behind its deepest tap, with its maps under our names.

    Shapes: images [N, 3, H, W] -> {tap: [N, channels, ~H / stride, ~W / stride]}; some networks round down (VGG,
    ConvNeXt) or do not pad (Inception).
    """

    def __init__(self, plan: TimmPlan) -> None:
        super().__init__()
        self.plan = plan
        self.feature_info = plan.feature_info
        self.network = create_network(plan.name, plan.output_stride, plan.out_indices)

    def forward(self, images: Tensor) -> Features:
        return dict(zip(self.feature_info, self.network(images), strict=True))


def timm_backbone(name: str, *, output_stride: int, taps: Sequence[str]) -> TimmBackbone:
    """timm's model `name`, freshly initialised, giving the feature maps `taps` at `output_stride`.

    Raises ConfigError, before anything is built, for a name that timm does not have, for a model without feature maps
    or for pictures of one size only, for an output stride it cannot be dilated to, and for taps it does not have.
    """
    return TimmBackbone(plan(name, output_stride, taps))


def timm_taps(name: str) -> dict[str, FeatureInfo]:
    """The feature maps of timm's undilated model `name`; no weights are built. Raises ConfigError as above."""
    return {tap: FeatureInfo(found.channels, found.stride) for tap, found in known_maps(name).items()}


def plan(name: str, output_stride: int, taps: Sequence[str]) -> TimmPlan:
    check_output_stride(output_stride)
    known = known_maps(name)
    check_taps(taps, list(known))
    dilated = {found.out_index: found for found in dilated_maps(name, output_stride)}
    tap_of = {known[tap].out_index: tap for tap in taps}
    out_indices = tuple(sorted(tap_of))
    return TimmPlan(
        name=name,
        output_stride=output_stride,
        out_indices=out_indices,
        feature_info={tap_of[index]: FeatureInfo(*dilated[index][1:]) for index in out_indices},
    )


def known_maps(name: str) -> dict[str, TimmMap]:
    """The last map of each stride from 2 to 32 under its tap name. Raises ConfigError."""
    check_name(name)
    try:
        found = try_out(name, UNDILATED)
    except Exception as error:  # every model has exceptions of its own
        raise ConfigError(
            f"timm:{name} gives no feature maps of a picture of {TRIAL_SIZE[0]} x {TRIAL_SIZE[1]} "
            f"({first_line(error)}); choose a model that takes pictures of any size"
        ) from error
    known = {TAP_STRIDES[one.stride]: one for one in found if one.stride in TAP_STRIDES}
    if not known:
        strides = sorted({one.stride for one in found})
        raise ConfigError(f"timm:{name} has feature maps of stride {strides}; a backbone has some of {[*TAP_STRIDES]}")
    return known


def dilated_maps(name: str, output_stride: int) -> tuple[TimmMap, ...]:
    try:
        return try_out(name, output_stride)
    except Exception as error:
        raise ConfigError(
            f"timm cannot dilate {name} to output stride {output_stride}; "
            f"use output stride {UNDILATED} or another backbone"
        ) from error


@cache
def try_out(name: str, output_stride: int) -> tuple[TimmMap, ...]:
    """Runs the network without weights or values, and so raises whatever building and running it would."""
    with torch.device("meta"), torch.no_grad():
        network = create_network(name, output_stride).eval()
        network(torch.empty(1, 3, *TRIAL_SIZE))
    info: Any = network.feature_info
    maps = zip(info.out_indices, info.channels(), info.reduction(), strict=True)
    return tuple(TimmMap(*one) for one in maps)


def create_network(
    name: str,
    output_stride: int,
    out_indices: tuple[int, ...] | None = None,
    *,
    pretrained: bool = False,
    weights: Path | None = None,
) -> nn.Module:
    """timm's model, cut off behind the deepest of `out_indices` (None: all maps that timm offers).

    With `pretrained`, timm fills it: from its host, or from `weights`, a file of the whole model.
    """
    has_own_class = timm.models.is_model_in_modules(name, OWN_FEATURE_CLASS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = timm.create_model(
            name,
            pretrained=pretrained,
            pretrained_cfg_overlay={"file": str(weights)} if weights else None,
            features_only=True,
            feature_cls=None if has_own_class else "getter",  # cuts, and gives NCHW whatever the model works in
            out_indices=out_indices,
            output_stride=None if output_stride == UNDILATED else output_stride,  # not every model takes one
        )
    if has_own_class:
        cut_off(network)
    return network


def cut_off(network: Any) -> None:
    """Drops the stages behind the deepest map, which timm's own classes of features would compute for nothing."""
    stages = [one["stage"] for one in network.feature_info.get_dicts()]  # the stem is stage 0
    network.blocks = network.blocks[: max(stages)]


def check_name(name: str) -> None:
    """Raises ConfigError for a name, or a tag behind its dot, that timm does not have."""
    models = timm.list_models()
    known = {*models, *timm.list_models(include_tags=True)}
    if name in known:
        return
    nearest = get_close_matches(name, models) or get_close_matches(name.partition(".")[0], models)
    hint = f"the nearest are {', '.join(nearest)}" if nearest else "timm.list_models() lists them"
    raise ConfigError(f"timm has no model {name!r}; {hint}")
