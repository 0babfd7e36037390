"""The scores of finished weights over a split, under the protocol that they or the command line name."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mbseg.analysis.profile import profile
from mbseg.build import builder
from mbseg.config.schema import Experiment
from mbseg.data.detection_samples import AnnotatedSplit
from mbseg.data.loaders import evaluation_loader
from mbseg.engine import distributed
from mbseg.engine.device import pick_device, use_threads, worker_count
from mbseg.engine.evaluate import measure
from mbseg.errors import ConfigError
from mbseg.exported_models import exported_experiment, is_exported
from mbseg.files import write_atomically
from mbseg.frame_scores import measure_frames
from mbseg.metrics.coco_json import Entry, instances
from mbseg.metrics.coco_json import judge as pycocotools_figures
from mbseg.predictors import load_predictor
from mbseg.runtime.artifact import read_artifact
from mbseg.runtime.backends import changes, check_backend, prepare
from mbseg.targets import State, read_target
from mbseg.tasks.base import Metric, Task
from mbseg.weights.report import load_state

CPU = torch.device("cpu")


def evaluate(
    target: str,
    overrides: Sequence[str],
    *,
    weights: Path | None,
    run: Path,
    predictions: Path | None = None,
    judge: bool = False,
) -> dict[str, Any]:
    """Scores of a config, a weights file or an exported file over the config's `data.val`.

    A config alone uses the best weights of `run`; an exported file runs as it is. A detector's boxes are written to
    `predictions` as COCO's results, and scored once more by pycocotools if `judge`. The result holds the scores as
    fractions, the protocol, params, and madds at the size the network saw.
    """
    if is_exported(target):
        if weights is not None:
            raise ConfigError(f"{target} is an exported file, which holds its weights; leave --weights away")
        return score_exported(Path(target), overrides, predictions=predictions, judge=judge)
    experiment, state, origin = read_target(target, overrides, weights=weights, run=run)
    check_boxes_are_asked_of_a_detector(experiment, predictions, judge)
    return score(experiment, state, origin=origin, predictions=predictions, judge=judge)


def score_exported(
    path: Path, overrides: Sequence[str], *, predictions: Path | None = None, judge: bool = False
) -> dict[str, Any]:
    """The scores of a file as it was exported, in the first engine that can run it, with the costs of its network."""
    artifact = read_artifact(path)
    experiment = exported_experiment(path, artifact, overrides)
    check_boxes_are_asked_of_a_detector(experiment, predictions, judge)
    every_box = None if experiment.task == "segmentation" else 0.0
    predictor = load_predictor(str(path), overrides, run=path, least_score=every_box).predictor
    parts = builder(experiment.task)
    task = parts.task(experiment, weights=False)
    split = parts.dataset(experiment, experiment.data.val, augment=False)
    with distributed.joined(CPU) as place:
        metric: Any = measure_frames(experiment.task, split, predictor, task.metric(), place)
    scores = metric.compute()
    if place.is_main and (predictions or judge):
        scores |= use_boxes(metric.results(split.split.category_ids), split.split, file=predictions, judge=judge)
    protocol = f"{task.describe()}, {predictor.description}"
    return {**scores, "protocol": protocol, "weights": str(path), **cost_on(task, experiment, split)}


def score(
    experiment: Experiment, state: State, *, origin: str, predictions: Path | None = None, judge: bool = False
) -> dict[str, Any]:
    """What `evaluate` gives, of an experiment and its model's weights, which come from the file `origin`."""
    device = distributed.local_device(pick_device(experiment.device))
    config, parts = experiment.evaluate, builder(experiment.task)
    check_backend(config.backend, config.precision, device)
    use_threads(experiment.threads)
    task = parts.task(experiment, weights=False)
    network = task.model
    load_state(network, state, origin=origin)
    task.predict_with(prepare(network, backend=config.backend, precision=config.precision))
    split = parts.dataset(experiment, experiment.data.val, augment=False)
    with distributed.joined(device) as place:
        # Any: whoever comes here with predictions or judge has a detector's metric, which gives results
        metric: Any = measured(task, split, device, place, workers=worker_count(experiment.data.workers))
    scores = metric.compute()
    if place.is_main and (predictions or judge):
        scores |= use_boxes(metric.results(split.split.category_ids), split.split, file=predictions, judge=judge)
    protocol = ", ".join([task.describe(), *changes(config.backend, config.precision)])
    task.predict_with(network)
    return {**scores, "protocol": protocol, "weights": origin, **cost_on(task, experiment, split)}


def measured(task: Task, split: Any, device: torch.device, place: distributed.Place, *, workers: int) -> Metric:
    """The task's metric over the split, of which each process takes its share."""
    batches = evaluation_loader(split, workers=workers, rank=place.rank, world=place.world)
    with tqdm(total=len(batches), unit="picture", disable=None if place.is_main else True, file=sys.stderr) as bar:
        return measure(task.to(device), batches, device, on_batch=lambda: bar.update())


def check_boxes_are_asked_of_a_detector(experiment: Experiment, predictions: Path | None, judge: bool) -> None:
    """Before any long work. Raises ConfigError."""
    if experiment.task == "segmentation" and (predictions or judge):
        option = "--predictions" if predictions else "--judge"
        raise ConfigError(f"{option} is about boxes, and the task here is {experiment.task}; leave it away")
    if predictions is None:
        return
    if predictions.exists():
        raise ConfigError(f"{predictions} exists already; remove it or name another file")
    if not predictions.parent.is_dir():
        raise ConfigError(f"there is no folder {predictions.parent} to write {predictions.name} into")


def use_boxes(results: list[Entry], split: AnnotatedSplit, *, file: Path | None, judge: bool) -> dict[str, Any]:
    """Write a detector's boxes to `file`, and score them by pycocotools if `judge`."""
    if file:
        write_atomically(file, json.dumps(results).encode())
    return {"pycocotools": pycocotools_figures(instances(split), results)} if judge else {}


def cost_on(task: Task, experiment: Experiment, split: Any) -> dict[str, Any]:
    """Params, and madds over all passes at the size of the split's first picture, of the task's network."""
    height, width = split[0].image.shape[:2]
    size = task.input_size((height, width))
    counted = profile(task.model, image_size=size, scales=experiment.evaluate.scales, flip=experiment.evaluate.flip)
    return {"params": counted.params, "madds": counted.madds, "image_size": list(size)}
