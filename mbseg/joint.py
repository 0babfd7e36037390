"""Models with two heads by name, with no config."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import get_args

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.dilation import LAST_CONV, UNDILATED
from mbseg.backbones.variant import AS_PUBLISHED, Variant
from mbseg.backbones.zoo import MOBILENETS, plan_backbone
from mbseg.boxes.default_boxes import DefaultBoxPlan
from mbseg.boxes.detections import Scores
from mbseg.boxes.geometry import Size
from mbseg.create import ASPP, check_mask_classes, check_width, choice, start_from
from mbseg.detectors import check_choice, check_order, chosen_maps, known_size, narrowed, ssdlite_on
from mbseg.errors import ConfigError
from mbseg.heads.ssdlite import ExtraLayers
from mbseg.heads.zoo import HeadOptions, PlannedHead, plan_head
from mbseg.models.joint import JointModel


def create_joint(
    backbone: str,
    *,
    head: str = "deeplabv3",
    aspp: str | None = None,
    head_at: str | None = None,
    low_at: str | None = None,
    maps: Sequence[str] | None = None,
    output_stride: int = 16,
    image_size: int | Size = 320,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    head_channels: int | None = None,
    num_classes: int = 21,
    weights: str | None = None,
    rates: tuple[int, int, int] | None = None,
    refine: bool = False,
    dropout: float | None = None,
    align_corners: bool = False,
    scores: Scores = "softmax",
    box_plan: DefaultBoxPlan = "standard",
    variant: Variant = AS_PUBLISHED,
) -> JointModel:
    """One backbone under a segmentation head and SSDLite: normalised images [N, 3, H, W] -> JointPredictions.

    The arguments are those of `create_segmenter` and `create_detector`. `output_stride` is the segmentation head's;
    SSDLite reads its maps at the strides of the undilated backbone. `num_classes` counts the background, which comes
    first; the objects are of the others. A reduced tail is the one of detection.
    Raises ConfigError for what does not go together, WeightsError for weights that do not fit.
    """
    check_request(scores, box_plan, num_classes, width_mult, reduced_tail)
    size, taps = known_size(image_size), chosen_maps(backbone, maps)
    planned_head = plan_head(
        HeadOptions(head, choice("aspp", aspp, ASPP), head_at, low_at, head_channels, rates, refine, dropout), backbone
    )
    plan = partial(
        plan_backbone,
        backbone,
        width_mult=width_mult,
        taps=tuple(dict.fromkeys((*planned_head.taps, *taps))),
        reduced_tail="detection" if reduced_tail else None,
        variant=for_two_heads(variant, backbone, width_mult, planned_head),
    )
    dense, coarse = plan(output_stride=output_stride), plan(output_stride=UNDILATED)
    check_order(taps, coarse.feature_info)
    segmentation_head = planned_head.build(dense.feature_info, num_classes, align_corners)
    extras = ExtraLayers(coarse.feature_info, taps=taps, width_mult=width_mult, padding=variant.padding)
    detection_head = ssdlite_on(extras, num_classes=num_classes - 1, scores=scores, box_plan=box_plan)
    body = dense.build()
    start_from(body, weights, backbone, width_mult, fresh=narrowed(backbone, width_mult, taps))
    return JointModel(
        body,
        segmentation_head,
        extras,
        detection_head,
        steps=steps_of(taps, dense.feature_info, coarse.feature_info),
        image_size=size,
        scores=scores,
        box_plan=box_plan,
        align_corners=align_corners,
    )


def check_request(
    scores: Scores, box_plan: DefaultBoxPlan, num_classes: int, width_mult: float, reduced_tail: bool
) -> None:
    check_choice("scores", scores, get_args(Scores))
    check_choice("box_plan", box_plan, get_args(DefaultBoxPlan))
    check_mask_classes(num_classes)
    check_width(width_mult)
    if num_classes < 2:
        raise ConfigError(f"num_classes is {num_classes}; of a background and one kind of object it is 2")
    if not isinstance(reduced_tail, bool):
        raise ConfigError(f"reduced_tail is {reduced_tail!r}; it is True or False here, and the tail of detection")


def for_two_heads(variant: Variant, backbone: str, width_mult: float, head: PlannedHead) -> Variant:
    """V2's last convolution as in detectors; where the detector alone reads one, it is not computed densely."""
    is_its_own = backbone in MOBILENETS and LAST_CONV not in head.taps
    return replace(variant, narrow_last_conv=width_mult < 1, coarse_last_conv=is_its_own)


def steps_of(
    taps: Sequence[str], dense: Mapping[str, FeatureInfo], coarse: Mapping[str, FeatureInfo]
) -> dict[str, int]:
    """How many cells of each dense map make one of the coarse map."""
    return {tap: coarse[tap].stride // dense[tap].stride for tap in taps}
