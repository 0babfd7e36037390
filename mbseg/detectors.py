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
from mbseg.models.detection import SMALLEST_SIDE, DetectionModel

SSDLITE = "ssdlite"
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
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes!r}; 1 or more are possible, the background not counted")
    if not isinstance(reduced_tail, bool):
        raise ConfigError(f"reduced_tail is {reduced_tail!r}; it is True or False here, as detection has one tail")
    size = known_size(image_size)
    taps = chosen_maps(backbone, maps)
    planned = plan_backbone(
        backbone,
        width_mult=width_mult,
        taps=taps,
        reduced_tail="detection" if reduced_tail else None,
        variant=replace(variant, narrow_last_conv=width_mult < 1),
    )
    check_order(taps, planned.feature_info)
    extras = ExtraLayers(planned.feature_info, taps=taps, width_mult=width_mult, padding=variant.padding)
    ssdlite = ssdlite_on(extras, num_classes=num_classes, scores=scores, box_plan=box_plan)
    body = planned.build()
    start_from(body, weights, backbone, width_mult, fresh=narrowed(backbone, width_mult, taps))
    return DetectionModel(body, extras, ssdlite, image_size=size, scores=scores, box_plan=box_plan)


def ssdlite_on(extras: ExtraLayers, *, num_classes: int, scores: Scores, box_plan: DefaultBoxPlan) -> SSDLite:
    """The head that reads all maps of `extras`."""
    boxes = [len(shapes) for shapes in box_shapes(len(extras.channels), box_plan)]
    prior = SIGMOID_PRIOR if scores == "sigmoid" else None
    return SSDLite(extras.channels, boxes, num_classes=num_classes, prior=prior)


def chosen_maps(backbone: str, maps: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(maps, str):
        raise ConfigError(f"maps is {maps!r}; it is a list of feature maps, fine to coarse, such as [{maps!r}]")
    return tuple(maps) if maps is not None else default_maps(backbone)


def default_maps(backbone: str) -> tuple[str, ...]:
    """The papers' two maps, or the nearest that the backbone has (V1: blocks 11 and 13)."""
    known = known_taps(backbone)
    first = "c4_expansion" if "c4_expansion" in known else "c4"
    return first, "last_conv" if "last_conv" in known else "c5"


def narrowed(backbone: str, width_mult: float, taps: Sequence[str]) -> tuple[str, ...]:
    """V2's last convolution is narrower than in ImageNet's networks below width 1, so it cannot start from theirs."""
    return ("last_conv.",) if backbone == "mobilenet_v2" and width_mult < 1 and "last_conv" in taps else ()


def known_size(image_size: int | Size) -> Size:
    """(height, width). Raises ConfigError for what is no size of a picture, or a smaller one than can be trained on."""
    size = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(size) != 2 or not all(type(side) is int and side >= SMALLEST_SIDE for side in size):
        raise ConfigError(
            f"image_size is {image_size!r}; it is a number of pixels or (height, width), {SMALLEST_SIDE} or more each"
        )
    return size[0], size[1]


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; it can be {' or '.join(known)}")


def check_order(taps: Sequence[str], features: Mapping[str, FeatureInfo]) -> None:
    """Raises ConfigError for maps that are not named fine to coarse, each once."""
    strides = [features[tap].stride for tap in taps]
    if strides != sorted(strides) or len(set(taps)) < len(taps):
        raise ConfigError(f"maps {list(taps)} have strides {strides}; name each once, the finer ones first")
