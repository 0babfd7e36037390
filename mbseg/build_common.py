"""What building a model takes whatever its task: classes, cards, weights to start from."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
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
    if experiment.task == "detection":
        classes = object_classes(experiment, description)
        return Labels(classes, colours(description, len(classes) + 1)[1:])  # the first is the background's
    found = experiment.data.classes or description.classes
    if not found:
        raise ConfigError(
            f"data.kind {experiment.data.kind} has no classes of its own; name them: data.classes=[background, ...]"
        )
    if experiment.task == "joint":
        check_background(found)
    return Labels(found, colours(description, len(found)))


def check_background(classes: Sequence[str]) -> None:
    """Raises ConfigError: the others are those of objects."""
    if classes[0] != BACKGROUND or len(classes) < 2:
        raise ConfigError(f"the classes are {', '.join(classes)}; of task=joint they begin with {BACKGROUND}")


def colours(description: DatasetDescription, count: int) -> Palette:
    """The data set's own, then VOC's, again and again: whoever names more classes than it has needs more."""
    background, *others = voc_palette()
    own = description.palette or (background,)
    return (*own, *islice(cycle(others[len(own) - 1 :] or others), max(0, count - len(own))))[:count]


def object_classes(experiment: Experiment, description: DatasetDescription) -> tuple[str, ...]:
    """Those of the config, of the data set, or of the training split's own file."""
    data = experiment.data
    classes = data.classes or description.object_classes
    if not classes and not data.root.is_dir():
        raise ConfigError(
            f"the classes stand in a file of data.root {data.root}, which is no folder; name data.classes"
        )
    classes = classes or list_annotations(description, data.root, data.train).classes
    if BACKGROUND in classes:
        raise ConfigError(f"the classes name {BACKGROUND!r}, which detection does not count; leave it away")
    return classes


def with_classes(experiment: Experiment) -> Experiment:
    """With the classes of a detector's own data set in its config: the file that names them is read this once."""
    if experiment.task != "detection" or experiment.data.classes:
        return experiment
    data = experiment.data.model_copy(update={"classes": labels(experiment).classes})
    return experiment.model_copy(update={"data": data})


def model_card(experiment: Experiment, metrics: dict[str, Any]) -> ModelCard:
    experiment = with_classes(experiment)  # the file that names them may not be at hand where the card is read
    known = labels(experiment)
    return ModelCard(
        classes=known.classes,
        palette=known.palette,
        mean=experiment.data.mean,
        std=experiment.data.std,
        config=to_tree(experiment),
        metrics=metrics,
    )
