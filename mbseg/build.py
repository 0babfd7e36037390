"""From names or a config to finished objects, by plain calls."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mbseg.backbones.base import Backbone
from mbseg.backbones.variant import Variant
from mbseg.backbones.zoo import known_taps
from mbseg.config.load import make_experiment, to_tree
from mbseg.config.schema import BackboneConfig, DataConfig, Experiment, LossConfig, ModelConfig
from mbseg.create import create_backbone, create_segmenter
from mbseg.data.dataset import PairDataset
from mbseg.data.description import load_description
from mbseg.data.frequencies import inverse_log_weights
from mbseg.data.labels import Palette, voc_palette
from mbseg.data.layouts import find_pairs
from mbseg.data.transforms import training_transform
from mbseg.errors import ConfigError, WeightsError
from mbseg.models.prediction import Protocol
from mbseg.models.segmentation import ModelCard, SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.tasks.segmentation import SegmentationTask
from mbseg.weights.report import load_state
from mbseg.weights.store import read_weights

logger = logging.getLogger(__name__)

CLASSIFIERS = ("head.classifier", "head.low_classifier")  # what another number of classes starts afresh


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
    backbone, head = config.backbone, config.head
    model = create_segmenter(
        backbone.name,
        head=head.kind,
        aspp=head.aspp,
        head_at=head.at,
        low_at=head.low_at,
        output_stride=config.output_stride,
        width_mult=backbone.width_mult,
        reduced_tail=backbone.reduced_tail,
        head_channels=head.channels,
        num_classes=num_classes,
        weights=backbone.weights if weights and config.weights is None else None,
        rates=head.rates,
        refine=head.refine,
        dropout=head.dropout,
        align_corners=config.align_corners,
        variant=variant(backbone),
    )
    if weights and config.weights is not None:
        state, _ = read_weights(Path(config.weights))
        fresh = CLASSIFIERS if config.new_classifier else ()
        logger.info("weights from %s: %s", config.weights, load_state(model, state, origin=config.weights, fresh=fresh))
    return model


def whole_backbone(settings: Mapping[str, Any]) -> Backbone:
    """The backbone of a config's `model.backbone` section with every feature map that it has."""
    config = BackboneConfig.model_validate(settings)
    tail = "segmentation" if config.reduced_tail else None
    return create_backbone(
        config.name,
        width_mult=config.width_mult,
        taps=known_taps(config.name),
        reduced_tail=tail,
        variant=variant(config),
    )


def variant(config: BackboneConfig) -> Variant:
    """What of a backbone differs from its paper."""
    return Variant(
        padding=config.padding,
        channel_divisor=config.channel_divisor,
        dilation_plan=config.dilation_plan,
        bottleneck=config.bottleneck,
        shortcut=config.shortcut,
    )


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
    return PairDataset(pairs, classes, description.label_map(len(classes)), transform, seed=seed)


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
