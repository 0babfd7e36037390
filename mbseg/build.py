"""From a config or a weights file to finished objects. What a config's `task` decides is in `build_<task>.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mbseg.build_common import labels
from mbseg.config.load import make_experiment
from mbseg.config.schema import Experiment, ModelConfig
from mbseg.errors import WeightsError
from mbseg.models.detection import DetectionModel
from mbseg.models.joint import JointModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.weights.report import check_state, load_state
from mbseg.weights.store import read_weights

Model = SegmentationModel | DetectionModel | JointModel


class Builder(Protocol):
    """What there is for each task: `build_segmentation`, `build_detection` and `build_joint` are such modules."""

    def model(self, config: ModelConfig, num_classes: int, *, weights: bool = True) -> Any:
        """The model of a config, with the weights it starts from unless `weights` is False."""

    def dataset(self, experiment: Experiment, split: str, *, augment: bool) -> Any:
        """A split, augmented for training or as it is evaluated."""

    def task(self, experiment: Experiment, *, weights: bool = True) -> Any:
        """Model, preprocessing and metric, with a loss that may still have to be replaced by `loss`."""

    def loss(self, experiment: Experiment, training: Any, /) -> nn.Module:
        """The loss of an experiment; it may count the classes of the training split."""

    def check(self, experiment: Experiment) -> None:
        """Raises ConfigError for what cannot be trained."""

    def sheet(self, experiment: Experiment, task: Any, split: Any, index: int) -> tuple[str, Any]:
        """The name of a picture, and how truth and prediction look in it [H, W, 3]."""


def builder(task: str) -> Builder:
    """The module of a task."""
    if task == "detection":
        from mbseg import build_detection

        return build_detection
    if task == "joint":
        from mbseg import build_joint

        return build_joint
    from mbseg import build_segmentation

    return build_segmentation


def untrained(experiment: Experiment, *, device: str | torch.device, num_classes: int | None = None) -> Model:
    """The model of an experiment as initialised, to be counted or timed; on "meta" it takes no memory."""
    classes = num_classes or len(labels(experiment).classes)
    with torch.device(device):
        model: Model = builder(experiment.task).model(experiment.model, classes, weights=False)
    return model


def check_fits(experiment: Experiment, state: Mapping[str, Tensor], origin: str, *, num_classes: int) -> None:
    """Before memory is taken for a network of any size that a file's config names. Raises WeightsError."""
    check_state(untrained(experiment, device="meta", num_classes=num_classes), state, origin=origin)


def load(path: str | Path, *, device: str = "cpu") -> Model:
    """The model of a weights file, in eval mode; what the file says of itself is in `model.card`.

    Raises WeightsError for a file that is missing, damaged, or not written by mbseg.
    """
    state, card = read_weights(Path(path))
    if card is None:
        raise WeightsError(f"{path} carries no mbseg config; a model cannot be built from it alone")
    experiment = make_experiment(card.config, source=str(path))
    check_fits(experiment, state, str(path), num_classes=len(card.classes))
    model: Model = builder(experiment.task).model(experiment.model, len(card.classes), weights=False)
    load_state(model, state, origin=str(path))
    model.card = card
    return model.to(device).eval()
