"""What there is to build with: facts taken from the zoos themselves, by asking and counting."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mbseg.analysis.profile import profile
from mbseg.analysis.published import ROWS, PublishedRow
from mbseg.backbones.base import Backbone, FeatureInfo
from mbseg.backbones.blockspec import ReducedTail
from mbseg.backbones.dilation import OUTPUT_STRIDES, UNDILATED
from mbseg.backbones.zoo import (
    MOBILENETS,
    RESNET,
    default_head_at,
    default_low_at,
    known_taps,
    network_spec,
    plan_backbone,
)
from mbseg.catalogue_detectors import SOURCE as SSDLITE_SOURCE
from mbseg.catalogue_detectors import DetectorEntry, describe_detectors, usual_maps, usual_settings
from mbseg.create import REDUCED_TAILS
from mbseg.detectors import SSDLITE
from mbseg.errors import ConfigError
from mbseg.heads.zoo import HEADS, SMP, HeadOptions, plan_head
from mbseg.weights.imagenet import PUBLISHED

NAMES = (*MOBILENETS, RESNET)
IMAGE_SIZE = (224, 224)  # of the multiply-adds: what ImageNet's networks are compared at
RESNET_SOURCE = "arXiv:1512.03385; TensorFlow DeepLab's beta"

Setting = str | int | float | bool | None  # None: follows from the backbone


@dataclass(frozen=True)
class Tap:
    """One feature map."""

    name: str
    channels: int
    strides: dict[int, int]  # output stride -> stride of this map


@dataclass(frozen=True)
class BackboneEntry:
    """A backbone at width 1; its cost is that of the whole network up to the deepest tap, without a classifier."""

    name: str
    source: str
    any_width: bool  # or width_mult 1 alone
    reduced_tails: tuple[str, ...]
    output_strides: tuple[int, ...]
    params: int
    madds: int  # native, at IMAGE_SIZE
    taps: tuple[Tap, ...]  # fine to coarse
    head_at: str  # what a head reads unless told otherwise
    low_at: str  # the second, finer tap of LR-ASPP unless told otherwise
    maps: tuple[str, ...]  # what SSDLite reads unless told otherwise; empty if it must be told
    imagenet: dict[float, str]  # width -> where its weights are published


@dataclass(frozen=True)
class HeadEntry:
    """A head and what may be set of it, with the defaults."""

    kind: str
    task: str
    source: str
    settings: dict[str, Setting]


@dataclass(frozen=True)
class DecoderEntry:
    """A decoder of segmentation-models-pytorch as a head."""

    kind: str
    taps: tuple[str, ...]
    channels: int  # unless set otherwise
    step: int  # channels may be set to multiples of it
    output_strides: tuple[int, ...]


@dataclass(frozen=True)
class ImportEntry:
    """What `mbseg import-weights` takes."""

    source: str
    gives: str


IMPORTS = (
    ImportEntry("torchvision:deeplabv3_mobilenet_v3_large", "the model, 21 classes, with torchvision's dilation"),
    ImportEntry("torchvision:lraspp_mobilenet_v3_large", "the model, 21 classes, with torchvision's dilation"),
    ImportEntry("torchvision:ssdlite320_mobilenet_v3_large", "the detector of COCO, with torchvision's default boxes"),
    ImportEntry("torchvision:mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small", "the classifier's backbone"),
    ImportEntry("timm:mobilenetv1_*, mobilenetv2_*, mobilenetv3_*, tf_mobilenetv3_*", "the classifier's backbone"),
    ImportEntry(".pth, .pt, .safetensors", "what the file holds of these"),
    ImportEntry(".tflite, float or 8-bit", "a MobileNet classifier's backbone, or a DeepLabV3 without ASPP on one"),
    ImportEntry(".pb, a frozen graph", "a MobileNetV2 classifier's backbone, or a DeepLabV3 or SSDLite on one"),
)


@dataclass(frozen=True)
class Catalogue:
    """Everything, or all about one backbone."""

    backbones: tuple[BackboneEntry, ...]
    heads: tuple[HeadEntry, ...]
    decoders: tuple[DecoderEntry, ...]
    imports: tuple[ImportEntry, ...]
    published: tuple[PublishedRow, ...]
    detectors: tuple[DetectorEntry, ...]


def whole_catalogue() -> Catalogue:
    """All but timm's models, which are too many to be built."""
    return Catalogue(
        backbones=tuple(describe_backbone(name) for name in NAMES),
        heads=(
            *(describe_head(kind) for kind in HEADS),
            HeadEntry(SSDLITE, "detection", SSDLITE_SOURCE, usual_settings()),
        ),
        decoders=tuple(describe_decoders()),
        imports=IMPORTS,
        published=ROWS,
        detectors=tuple(describe_detectors()),
    )


def catalogue_of(backbone: str) -> Catalogue:
    """One backbone (timm:<name> too) and what is published of it. Raises ConfigError for an unknown name."""
    entry = describe_backbone(backbone)
    published = tuple(row for row in ROWS if row.network.backbone == backbone)
    return Catalogue((entry,), (), (), (), published, tuple(describe_detectors(backbone)))


def describe_backbone(name: str) -> BackboneEntry:
    """Built on the meta device, so that nothing is computed. Raises ConfigError for an unknown name."""
    taps = known_taps(name)
    bodies = {stride: body for stride in OUTPUT_STRIDES if (body := built_at(name, stride, taps))}
    whole = bodies[UNDILATED]
    cost = profile(whole, image_size=IMAGE_SIZE)
    infos = {stride: body.feature_info for stride, body in bodies.items()}
    return BackboneEntry(
        name=name,
        source=source_of(name),
        any_width=name in MOBILENETS,
        reduced_tails=tuple(tail for tail in REDUCED_TAILS if has_tail(name, tail)),
        output_strides=tuple(bodies),
        params=cost.params,
        madds=cost.madds,
        taps=tuple(describe_tap(tap, infos) for tap in taps),
        head_at=default_head_at(name),
        low_at=default_low_at(name),
        maps=usual_maps(name, taps),
        imagenet=dict(PUBLISHED.get(name, {})),
    )


def built_at(name: str, output_stride: int, taps: Sequence[str]) -> Backbone | None:
    """None where the backbone cannot be dilated to that output stride, as some of timm's."""
    try:
        with torch.device("meta"):
            return plan_backbone(name, output_stride=output_stride, taps=taps).build()
    except ConfigError:
        return None


def source_of(name: str) -> str:
    if name in MOBILENETS:
        return MOBILENETS[name].source
    return RESNET_SOURCE if name == RESNET else "timm"


def has_tail(name: str, tail: ReducedTail) -> bool:
    if name not in MOBILENETS:
        return False
    try:
        network_spec(name, reduced_tail=tail)
    except ConfigError:
        return False
    return True


def describe_tap(name: str, infos: Mapping[int, Mapping[str, FeatureInfo]]) -> Tap:
    return Tap(name, infos[UNDILATED][name].channels, {stride: info[name].stride for stride, info in infos.items()})


def describe_head(kind: str) -> HeadEntry:
    family = HEADS[kind]
    return HeadEntry(kind, "segmentation", family.source, {key: default_of(kind, key) for key in family.keys})


def default_of(kind: str, key: str) -> Setting:
    """What the head chooses on every backbone; None where that differs, and for rates, which follow from the stride."""
    defaults = {getattr(plan_head(HeadOptions(kind), name).options, key) for name in NAMES}
    return defaults.pop() if len(defaults) == 1 else None


def describe_decoders() -> Iterator[DecoderEntry]:
    from mbseg.heads.smp_decoders import DECODERS

    for name, decoder in DECODERS.items():
        yield DecoderEntry(SMP + name, decoder.taps, decoder.channels, decoder.step, decoder.output_strides)


def as_tree(catalogue: Catalogue) -> dict[str, Any]:
    """For JSON; the source and the network of what is published are laid flat beside its figures."""
    return {
        "backbones": [asdict(one) for one in catalogue.backbones],
        "heads": [asdict(one) for one in catalogue.heads],
        "decoders": [asdict(one) for one in catalogue.decoders],
        "imports": [asdict(one) for one in catalogue.imports],
        "published": [flat(row) for row in catalogue.published],
        "detectors": [flat_detector(entry) for entry in catalogue.detectors],
    }


def flat(row: PublishedRow) -> dict[str, Any]:
    figures = {key: value for key, value in row._asdict().items() if key not in ("source", "network")}
    return {**row.network._asdict(), **figures, **row.source._asdict()}


def flat_detector(entry: DetectorEntry) -> dict[str, Any]:
    """What is printed carries its unit in the name; what is counted here does not."""
    figures = {key: value for key, value in entry.printed._asdict().items() if key != "network"}
    counted = {key: value for key, value in asdict(entry).items() if key != "printed"}
    return {**entry.printed.network._asdict(), **figures, **counted}
