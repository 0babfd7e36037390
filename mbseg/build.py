"""From names or a config to finished objects, by plain calls."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mbseg.backbones.base import Backbone
from mbseg.backbones.zoo import build_backbone, entry
from mbseg.config.load import make_experiment, to_tree
from mbseg.config.schema import DataConfig, Experiment, LossConfig, ModelConfig
from mbseg.data.dataset import PairDataset
from mbseg.data.description import load_description
from mbseg.data.frequencies import inverse_log_weights
from mbseg.data.labels import Palette, voc_palette
from mbseg.data.layouts import find_pairs
from mbseg.data.transforms import training_transform
from mbseg.errors import ConfigError, WeightsError
from mbseg.heads.aspp import Aspp
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.prediction import Protocol
from mbseg.models.segmentation import ModelCard, SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.tasks.segmentation import SegmentationTask
from mbseg.weights.imagenet import load_backbone_weights
from mbseg.weights.report import load_state
from mbseg.weights.store import read_weights

logger = logging.getLogger(__name__)

HEADS = ("deeplabv3",)
ASPP: tuple[Aspp, ...] = ("dense", "separable", "none")


def create_backbone(
    name: str,
    *,
    width_mult: float = 1.0,
    output_stride: int = 32,
    taps: Sequence[str] | None = None,
    reduced_tail: str | None = None,
    weights: str | None = None,
) -> Backbone:
    """A backbone that gives the feature maps `taps` (None: c2 to c5) at an output stride of 8, 16 or 32.

    `reduced_tail` is None or "segmentation" (arXiv:1905.02244, section 6.4). `weights` is "imagenet" (downloaded once)
    or a file. Raises ConfigError for what the backbone cannot do, WeightsError for weights that do not fit.
    """
    if not 0.1 <= width_mult <= 4:
        raise ConfigError(f"width_mult is {width_mult}; 0.1 to 4 are possible")
    if reduced_tail not in (None, "segmentation"):
        raise ConfigError(f"reduced_tail is {reduced_tail!r}; {name} has None and 'segmentation'")
    backbone = build_backbone(
        name,
        width_mult=width_mult,
        output_stride=output_stride,
        taps=("c2", "c3", "c4", "c5") if taps is None else taps,
        reduced_tail=reduced_tail is not None,
    )
    if weights is not None:
        report = load_backbone_weights(backbone, weights, name=name, width_mult=width_mult)
        logger.info("%s weights from %s: %s", name, weights, report)
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
    dropout: float = 0.1,
    align_corners: bool = False,
) -> SegmentationModel:
    """A segmentation model: normalised images [N, 3, H, W] -> logits [N, num_classes, h, w].

    `aspp` is "dense", "separable" or "none" (None: "none"), `head_at` the tap the head reads (None: c5),
    `head_channels` its width (None: 256), `num_classes` counts the background, `weights` are the backbone's
    ("imagenet" or a file). Raises ConfigError for what does not go together, WeightsError for weights that do not fit.
    """
    if head not in HEADS:
        raise ConfigError(f"no head named {head!r}; there are {list(HEADS)}")
    if low_at is not None:
        raise ConfigError(f"head {head} reads one feature map; leave low_at away, or set head_at={low_at!r}")
    if not 1 <= num_classes <= 255:
        raise ConfigError(f"num_classes is {num_classes}; 1 to 255 are possible, as 255 in a mask means ignored")
    if head_channels is not None and head_channels < 1:
        raise ConfigError(f"head_channels is {head_channels}; 1 or more are possible")
    at = entry(backbone).head_at if head_at is None else head_at
    body = create_backbone(
        backbone,
        width_mult=width_mult,
        output_stride=output_stride,
        taps=(at,),
        reduced_tail="segmentation" if reduced_tail else None,
        weights=weights,
    )
    deeplab = DeepLabV3(
        body.feature_info[at],
        at=at,
        num_classes=num_classes,
        aspp=known_aspp(aspp),
        channels=256 if head_channels is None else head_channels,
        dropout=dropout,
    )
    return SegmentationModel(body, deeplab, align_corners=align_corners)


def known_aspp(aspp: str | None) -> Aspp:
    for known in ASPP:
        if aspp == known:
            return known
    if aspp is None:
        return "none"
    raise ConfigError(f"aspp is {aspp!r}; it can be {', '.join(ASPP)}")


def load(path: str | Path, *, device: str = "cpu") -> SegmentationModel:
    """The model of a weights file, in eval mode; what the file says of itself is in `model.card`.

    Raises WeightsError for a file that is missing, damaged, or not written by mbseg.
    """
    state, card = read_weights(Path(path))
    if card is None:
        raise WeightsError(f"{path} carries no mbseg config; a model cannot be built from it alone")
    experiment = make_experiment(card.config, source=str(path))
    model = segmentation_model(experiment.model, len(card.classes), weights=False)
    load_state(model, state, origin=str(path))
    model.card = card
    return model.to(device).eval()


def segmentation_model(config: ModelConfig, num_classes: int, *, weights: bool = True) -> SegmentationModel:
    """The model of a config, with the weights it starts from unless `weights` is False."""
    model = create_segmenter(
        config.backbone.name,
        head=config.head.kind,
        aspp=config.head.aspp,
        head_at=config.head.at,
        output_stride=config.output_stride,
        width_mult=config.backbone.width_mult,
        reduced_tail=config.backbone.reduced_tail,
        head_channels=config.head.channels,
        num_classes=num_classes,
        weights=config.backbone.weights if weights and config.weights is None else None,
        dropout=config.head.dropout,
        align_corners=config.align_corners,
    )
    if weights and config.weights is not None:
        state, _ = read_weights(Path(config.weights))
        fresh = ("head.classifier",) if config.new_classifier else ()
        logger.info("weights from %s: %s", config.weights, load_state(model, state, origin=config.weights, fresh=fresh))
    return model


@dataclass(frozen=True)
class Labels:
    """The classes of a data set and the colours to draw them in."""

    classes: tuple[str, ...]
    palette: Palette


def labels(config: DataConfig) -> Labels:
    """Raises ConfigError where neither the data set nor the config names the classes."""
    description = load_description(config.kind)
    classes = config.classes or description.classes
    if not classes:
        raise ConfigError(
            f"data.kind {config.kind} has no classes of its own; name them: data.classes=[background, ...]"
        )
    return Labels(classes, (description.palette or voc_palette())[: len(classes)])


def dataset(config: DataConfig, split: str, *, augment: bool, seed: int = 0) -> PairDataset:
    """A split, augmented for training or as it is."""
    classes = labels(config).classes
    description = load_description(config.kind)
    pairs = find_pairs(description, config.root, split)
    transform = transform_of(config) if augment else None
    return PairDataset(pairs, classes, description.void, transform, palette=description.palette, seed=seed)


def transform_of(config: DataConfig) -> Any:
    augment = config.augment
    red, green, blue = (round(255 * value) for value in config.mean)
    return training_transform(
        config.crop_size,
        scale=augment.scale,
        flip=augment.flip,
        rotate=augment.rotate,
        brightness=augment.brightness,
        contrast=augment.contrast,
        saturation=augment.saturation,
        hue=augment.hue,
        fill=(red, green, blue),
    )


def segmentation_task(experiment: Experiment, *, weights: bool = True) -> SegmentationTask:
    """Model, preprocessing, loss, protocol and metric of an experiment; `weights` False: as initialised."""
    known = labels(experiment.data)
    torch.manual_seed(experiment.train.seed)  # the initial weights of what is not pretrained
    model = segmentation_model(experiment.model, len(known.classes), weights=weights)
    return SegmentationTask(
        model,
        Normalize(experiment.data.mean, experiment.data.std),
        SegmentationLoss(LossWeights(), align_corners=model.align_corners),
        classes=known.classes,
        protocol=protocol(experiment),
        channels_last=experiment.train.channels_last,
    )


def loss(experiment: Experiment, training: PairDataset) -> SegmentationLoss:
    """The loss of an experiment; class weights are counted over the masks of the training split."""
    config = experiment.train.loss
    weights = LossWeights(
        cross_entropy=config.cross_entropy,
        dice=config.dice,
        lovasz=config.lovasz,
        focal=config.focal,
        label_smoothing=config.label_smoothing,
        stride=config.stride,
        classes=class_weights(config, training),
    )
    return SegmentationLoss(weights, align_corners=experiment.model.align_corners)


def class_weights(config: LossConfig, training: PairDataset) -> tuple[float, ...] | None:
    if config.class_weights == "inverse_log":
        return inverse_log_weights(training)
    if config.class_weights is not None and len(config.class_weights) != len(training.classes):
        raise ConfigError(
            f"train.loss.class_weights has {len(config.class_weights)} values for {len(training.classes)} classes"
        )
    return config.class_weights


def protocol(experiment: Experiment) -> Protocol:
    config = experiment.evaluate
    return Protocol(config.scales, config.flip, config.resize_longer_side, config.pad_to, config.pad_value)


def model_card(experiment: Experiment, metrics: dict[str, Any]) -> ModelCard:
    known = labels(experiment.data)
    return ModelCard(
        classes=known.classes,
        palette=known.palette,
        mean=experiment.data.mean,
        std=experiment.data.std,
        config=to_tree(experiment),
        metrics=metrics,
    )
