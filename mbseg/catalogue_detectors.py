"""What there is to detect with: SSDLite's settings and maps, and its cost beside what papers print."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn

from mbseg.analysis.complexity import count_params
from mbseg.analysis.profile import profile
from mbseg.analysis.published_detectors import DETECTORS, IMAGE_SIZE, DetectorNetwork, PublishedDetector
from mbseg.detectors import create_detector, default_maps
from mbseg.models.detection import DetectionModel

SOURCE = "arXiv:1801.04381"
SETTINGS = ("maps", "scores", "box_plan")  # below `model.head`


@dataclass(frozen=True)
class DetectorEntry:
    """A printed detector, counted here in the native accounting."""

    printed: PublishedDetector
    params: int
    params_without_norm: int
    madds: int


def describe_detectors(backbone: str | None = None) -> Iterator[DetectorEntry]:
    """Those of one backbone, or all."""
    for row in DETECTORS:
        if backbone in (None, row.network.backbone):
            yield count_detector(row)


def count_detector(row: PublishedDetector) -> DetectorEntry:
    model = build_detector(row.network)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    cost = profile(model)
    return DetectorEntry(row, cost.params, cost.params - sum(count_params(norm) for norm in norms), cost.madds)


def build_detector(network: DetectorNetwork) -> DetectionModel:
    """On the meta device."""
    with torch.device("meta"):
        return create_detector(
            network.backbone,
            image_size=IMAGE_SIZE,
            num_classes=network.num_classes,
            width_mult=network.width_mult,
            reduced_tail=network.reduced_tail,
            box_plan=network.box_plan,
        )


def usual_settings() -> dict[str, Any]:
    """What `create_detector` chooses unless told otherwise; None follows from the backbone."""
    parameters = signature(create_detector).parameters
    return {key: parameters[key].default for key in SETTINGS}


def usual_maps(backbone: str, taps: Sequence[str]) -> tuple[str, ...]:
    """What SSDLite reads unless told otherwise; nothing where the backbone lacks one of them, as some of timm's do."""
    maps = default_maps(backbone)
    return maps if set(maps) <= set(taps) else ()
