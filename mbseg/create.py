"""Networks by name, with no config: finished parts put together by plain calls."""

import logging
from collections.abc import Sequence
from typing import TypeVar, get_args

from mbseg.backbones.base import Backbone
from mbseg.backbones.blockspec import ReducedTail
from mbseg.backbones.variant import AS_PUBLISHED, Variant
from mbseg.backbones.zoo import plan_backbone
from mbseg.errors import ConfigError
from mbseg.heads.aspp import Aspp
from mbseg.heads.zoo import HeadOptions, plan_head
from mbseg.models.segmentation import SegmentationModel
from mbseg.weights.imagenet import expectations, load_backbone_weights

logger = logging.getLogger(__name__)

REDUCED_TAILS: tuple[ReducedTail, ...] = get_args(ReducedTail)
ASPP: tuple[Aspp, ...] = get_args(Aspp)
Choice = TypeVar("Choice", bound=str)


def create_backbone(
    name: str,
    *,
    width_mult: float = 1.0,
    output_stride: int = 32,
    taps: Sequence[str] | None = None,
    reduced_tail: str | None = None,
    weights: str | None = None,
    variant: Variant = AS_PUBLISHED,
) -> Backbone:
    """A backbone that gives the feature maps `taps` (None: c2 to c5) at an output stride of 8, 16 or 32.

    `reduced_tail` is None, "segmentation" or "detection" (arXiv:1905.02244, sections 6.4 and 6.3). `weights` is
    "imagenet" (downloaded once) or a file. `variant` holds what differs from the paper (padding, ablations).
    Raises ConfigError for what the backbone cannot do, WeightsError for weights that do not fit.
    """
    check_width(width_mult)
    planned = plan_backbone(
        name,
        width_mult=width_mult,
        output_stride=output_stride,
        taps=("c2", "c3", "c4", "c5") if taps is None else taps,
        reduced_tail=choice("reduced_tail", reduced_tail, REDUCED_TAILS),
        variant=variant,
    )
    backbone = planned.build()
    start_from(backbone, weights, name, width_mult)
    return backbone


def create_segmenter(
    backbone: str,
    *,
    head: str = "deeplabv3",
    aspp: str | None = None,
    head_at: str | None = None,
    low_at: str | None = None,
    output_stride: int = 16,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    head_channels: int | None = None,
    num_classes: int = 21,
    weights: str | None = None,
    rates: tuple[int, int, int] | None = None,
    refine: bool = False,
    dropout: float | None = None,
    align_corners: bool = False,
    variant: Variant = AS_PUBLISHED,
) -> SegmentationModel:
    """A segmentation model: normalised images [N, 3, H, W] -> logits [N, num_classes, h, w].

    `head` is "deeplabv3", "lraspp", "deeplabv3plus" or "smp:<decoder>". `aspp` is "dense", "separable" or "none" (None:
    "none", for deeplabv3plus "separable"). `head_at` is the tap the head reads (None: c5, or last_conv of V3), `low_at`
    the finer one of lraspp (None: c3_expansion, or c3 where there is none) and deeplabv3plus (None: c2).
    `head_channels` is the head's width (None: 256, for lraspp 128), `rates` those of ASPP (None: from the stride),
    `num_classes` counts the background, `weights` are the backbone's ("imagenet" or a file).
    Raises ConfigError for what does not go together, WeightsError for weights that do not fit.
    """
    if not isinstance(reduced_tail, bool):
        raise ConfigError(f"reduced_tail is {reduced_tail!r}; it is True or False here, as segmentation has one tail")
    check_mask_classes(num_classes)
    check_width(width_mult)
    planned_head = plan_head(
        HeadOptions(head, choice("aspp", aspp, ASPP), head_at, low_at, head_channels, rates, refine, dropout), backbone
    )
    planned = plan_backbone(
        backbone,
        width_mult=width_mult,
        output_stride=output_stride,
        taps=planned_head.taps,
        reduced_tail="segmentation" if reduced_tail else None,
        variant=variant,
    )
    built = planned_head.build(planned.feature_info, num_classes, align_corners)
    body = planned.build()
    start_from(body, weights, backbone, width_mult)
    return SegmentationModel(body, built, align_corners=align_corners)


def start_from(
    backbone: Backbone, weights: str | None, name: str, width_mult: float, *, fresh: Sequence[str] = ()
) -> None:
    """Fills the backbone, all but what starts `fresh`, from "imagenet" or a file; says what became of every key."""
    if weights is None:
        return
    report = load_backbone_weights(backbone, weights, name=name, width_mult=width_mult, fresh=fresh)
    logger.info("%s weights from %s: %s", name, weights, report)
    if keys := expectations(backbone, weights, name=name, width_mult=width_mult):
        logger.warning("these weights expect %s", keys)


def check_mask_classes(num_classes: int) -> None:
    if not (isinstance(num_classes, int) and 1 <= num_classes <= 255):
        raise ConfigError(f"num_classes is {num_classes!r}; 1 to 255 are possible, as 255 in a mask means ignored")


def check_width(width_mult: float) -> None:
    if not (isinstance(width_mult, int | float) and 0.1 <= width_mult <= 4):
        raise ConfigError(f"width_mult is {width_mult!r}; 0.1 to 4 are possible")


def choice(key: str, value: str | None, allowed: Sequence[Choice]) -> Choice | None:
    """`value` as one of the `allowed` ones. Raises ConfigError for another."""
    if value is None:
        return None
    for one in allowed:
        if one == value:
            return one
    raise ConfigError(f"{key} is {value!r}; it can be {', '.join(allowed)}")
