"""What building a model takes whatever its task: classes, cards, weights to start from."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mbseg.backbones.base import Backbone
from mbseg.backbones.variant import Variant
from mbseg.backbones.zoo import known_taps
from mbseg.config.load import to_tree
from mbseg.config.schema import BackboneConfig, Experiment, ModelConfig
from mbseg.create import create_backbone
from mbseg.data.description import BACKGROUND, DatasetDescription, load_description
from mbseg.data.detection_layouts import list_annotations
from mbseg.data.labels import Palette, voc_palette
from mbseg.errors import ConfigError
from mbseg.models.segmentation import ModelCard
from mbseg.weights.report import load_state
from mbseg.weights.store import read_weights

logger = logging.getLogger(__name__)


def variant(config: BackboneConfig) -> Variant:
    """What of a backbone differs from its paper."""
    return Variant(
        padding=config.padding,
        channel_divisor=config.channel_divisor,
        dilation_plan=config.dilation_plan,
        bottleneck=config.bottleneck,
        shortcut=config.shortcut,
    )


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


def start_from_model(model: nn.Module, config: ModelConfig, classifiers: Sequence[str]) -> None:
    """Fills the model from the file `model.weights`; another number of classes starts its `classifiers` afresh."""
    if config.weights is None:
        return
    state, _ = read_weights(Path(config.weights))
    fresh = classifiers if config.new_classifier else ()
    logger.info("weights from %s: %s", config.weights, load_state(model, state, origin=config.weights, fresh=fresh))


@dataclass(frozen=True)
class Labels:
    """The classes of a data set and the colours to draw them in; of detection, without the background."""

    classes: tuple[str, ...]
    palette: Palette


def labels(experiment: Experiment) -> Labels:
    """Raises ConfigError where neither the data set nor the config names the classes."""
    description = load_description(experiment.data.kind)
    own = description.palette or ()
    palette = (*own, *voc_palette()[len(own) :])  # whoever names more classes than a data set has needs more colours
    if experiment.task == "detection":
        classes = object_classes(experiment, description)
        return Labels(classes, palette[1 : len(classes) + 1])  # the first is the background's
    found = experiment.data.classes or description.classes
    if not found:
        raise ConfigError(
            f"data.kind {experiment.data.kind} has no classes of its own; name them: data.classes=[background, ...]"
        )
    return Labels(found, palette[: len(found)])


def object_classes(experiment: Experiment, description: DatasetDescription) -> tuple[str, ...]:
    """Those of the config, of the data set, or of the training split's own file."""
    data = experiment.data
    if BACKGROUND in (data.classes or ()):
        raise ConfigError(f"data.classes names {BACKGROUND!r}, which detection does not count; leave it away")
    classes = data.classes or description.object_classes
    return classes or list_annotations(description, data.root, data.train).classes


def model_card(experiment: Experiment, metrics: dict[str, Any]) -> ModelCard:
    known = labels(experiment)
    config = to_tree(experiment)
    if experiment.task == "detection":
        config["data"]["classes"] = list(known.classes)  # the file that named them may not be at hand where it is used
    return ModelCard(
        classes=known.classes,
        palette=known.palette,
        mean=experiment.data.mean,
        std=experiment.data.std,
        config=config,
        metrics=metrics,
    )
