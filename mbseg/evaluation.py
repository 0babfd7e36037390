"""The scores of finished weights over a split, under the protocol that they or the command line name."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from mbseg.files import write_atomically
from mbseg.metrics.coco_json import Entry, instances
from mbseg.metrics.coco_json import judge as pycocotools_figures
from mbseg.targets import read_target
from mbseg.tasks.base import Task
from mbseg.weights.report import load_state


def evaluate(
    target: str,
    overrides: Sequence[str],
    *,
    weights: Path | None,
    run: Path,
    predictions: Path | None = None,
    judge: bool = False,
) -> dict[str, Any]:
    """Scores of a config or a weights file over the config's `data.val`.

    A config alone uses the best weights of `run`. A detector's boxes are written to `predictions` as COCO's results,
    and scored once more by pycocotools if `judge`. The result holds the scores as fractions, the protocol, params, and
    madds at the size the network saw.
    """
    experiment, state, origin = read_target(target, overrides, weights=weights, run=run)
    check_boxes_are_asked_of_a_detector(experiment, predictions, judge)
    device = distributed.local_device(pick_device(experiment.device))
    use_threads(experiment.threads)
    place = distributed.start(device)
    parts = builder(experiment.task)
    task = parts.task(experiment, weights=False)
    load_state(task.model, state, origin=origin)
    split = parts.dataset(experiment, experiment.data.val, augment=False)
    batches = evaluation_loader(
        split, workers=worker_count(experiment.data.workers), rank=place.rank, world=place.world
    )
    with tqdm(total=len(batches), unit="picture", disable=None if place.is_main else True, file=sys.stderr) as bar:
        # Any: whoever comes here with predictions or judge has a detector's metric, which gives results
        metric: Any = measure(task.to(device), batches, device, on_batch=lambda: bar.update())
    distributed.stop()
    scores = metric.compute()
    if place.is_main and (predictions or judge):
        scores |= use_boxes(metric.results(split.split.category_ids), split.split, file=predictions, judge=judge)
    height, width = split[0].image.shape[:2]
    cost = cost_of(task, experiment, task.input_size((height, width)))
    return {**scores, "protocol": task.describe(), "weights": origin, **cost}


def check_boxes_are_asked_of_a_detector(experiment: Experiment, predictions: Path | None, judge: bool) -> None:
    """Before any long work. Raises ConfigError."""
    if experiment.task != "detection" and (predictions or judge):
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


def cost_of(task: Task, experiment: Experiment, size: tuple[int, int]) -> dict[str, Any]:
    """Params, and madds over all passes of the evaluation at `size`."""
    counted = profile(task.model, image_size=size, scales=experiment.evaluate.scales, flip=experiment.evaluate.flip)
    return {"params": counted.params, "madds": counted.madds, "image_size": list(size)}
