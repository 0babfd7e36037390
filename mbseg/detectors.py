"""Detectors by name, with no config."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from mbseg.backbones.base import FeatureInfo
from mbseg.backbones.variant import AS_PUBLISHED, Variant
from mbseg.backbones.zoo import known_taps, plan_backbone
from mbseg.boxes.default_boxes import DefaultBoxPlan, box_shapes
from mbseg.boxes.detections import Scores
from mbseg.boxes.geometry import Size
from mbseg.create import check_width, start_from
from mbseg.errors import ConfigError
from mbseg.heads.ssdlite import ExtraLayers, SSDLite
from mbseg.models.detection import DetectionModel

SSDLITE = "ssdlite"
SMALLEST_SIDE = 64  # pixels: two cells of stride 32, so that batch norm can be trained on a single picture
SIGMOID_PRIOR = 0.01


def create_detector(
    backbone: str,
    *,
    head: str = SSDLITE,
    maps: Sequence[str] | None = None,
    image_size: int | Size = 320,
    num_classes: int = 80,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    weights: str | None = None,
    scores: Scores = "softmax",
    box_plan: DefaultBoxPlan = "standard",
    variant: Variant = AS_PUBLISHED,
) -> DetectionModel:
    """A detection model: normalised images [N, 3, H, W] -> RawDetections about its default boxes.

    `maps` are the backbone's feature maps that the head reads, fine to coarse (None: c4_expansion and last_conv, or c4
    and c5 where these are missing); four extra ones follow. `image_size` is a number or (height, width),
    `num_classes` does not count the background, `weights` are the backbone's ("imagenet" or a file).
    Raises ConfigError for what does not go together, WeightsError for weights that do not fit.
    """
    check_choice("head", head, (SSDLITE,))
    check_choice("scores", scores, get_args(Scores))
    check_choice("box_plan", box_plan, get_args(DefaultBoxPlan))
    check_width(width_mult)
    if num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}; 1 or more are possible, the background not counted")
    size = known_size(image_size)
    taps = tuple(maps) if maps is not None else default_maps(backbone)
    planned = plan_backbone(
        backbone,
        width_mult=width_mult,
        taps=taps,
        reduced_tail="detection" if reduced_tail else None,
        variant=replace(variant, narrow_last_conv=width_mult < 1),
    )
    check_order(taps, planned.feature_info)
    extras = ExtraLayers(planned.feature_info, taps=taps, width_mult=width_mult, padding=variant.padding)
    boxes = [len(shapes) for shapes in box_shapes(len(extras.channels), box_plan)]
    prior = SIGMOID_PRIOR if scores == "sigmoid" else None
    ssdlite = SSDLite(extras.channels, boxes, num_classes=num_classes, prior=prior)
    body = planned.build()
    start_from(body, weights, backbone, width_mult, fresh=narrowed(backbone, width_mult, taps))
    return DetectionModel(body, extras, ssdlite, image_size=size, scores=scores, box_plan=box_plan)


def default_maps(backbone: str) -> tuple[str, ...]:
    """The papers' two maps, or the nearest that the backbone has (V1: blocks 11 and 13)."""
    known = known_taps(backbone)
    first = "c4_expansion" if "c4_expansion" in known else "c4"
    return first, "last_conv" if "last_conv" in known else "c5"


def narrowed(backbone: str, width_mult: float, taps: Sequence[str]) -> tuple[str, ...]:
    """V2's last convolution is narrower than in ImageNet's networks below width 1, so it cannot start from theirs."""
    return ("last_conv.",) if backbone == "mobilenet_v2" and width_mult < 1 and "last_conv" in taps else ()


def known_size(image_size: int | Size) -> Size:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < SMALLEST_SIDE:
        raise ConfigError(f"image_size is {height} x {width}; both sides must be {SMALLEST_SIDE} pixels or more")
    return height, width


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; it can be {' or '.join(known)}")


def check_order(taps: Sequence[str], features: Mapping[str, FeatureInfo]) -> None:
    """Raises ConfigError for maps that are not named fine to coarse, each once."""
    strides = [features[tap].stride for tap in taps]
    if strides != sorted(strides) or len(set(taps)) < len(taps):
        raise ConfigError(f"maps {list(taps)} have strides {strides}; name each once, the finer ones first")
