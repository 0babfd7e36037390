"""The scores of finished weights over a split, under the protocol that they or the command line name."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mbseg import build
from mbseg.analysis.profile import profile
from mbseg.config.schema import Experiment
from mbseg.data.dataset import PairDataset
from mbseg.data.loaders import evaluation_loader
from mbseg.engine import distributed
from mbseg.engine.device import pick_device, use_threads, worker_count
from mbseg.engine.evaluate import evaluate as score
from mbseg.targets import read_target
from mbseg.tasks.segmentation import SegmentationTask
from mbseg.weights.report import load_state


def evaluate(target: str, overrides: Sequence[str], *, weights: Path | None, run: Path) -> dict[str, Any]:
    """Scores of a config or a weights file over the config's `data.val`.

    A config alone uses the best weights of `run`. The result holds the scores as fractions, the protocol, params, and
    madds at the size the network saw.
    """
    experiment, state, origin = read_target(target, overrides, weights=weights, run=run)
    device = distributed.local_device(pick_device(experiment.device))
    use_threads(experiment.threads)
    place = distributed.start(device)
    task = build.segmentation_task(experiment, weights=False)
    load_state(task.model, state, origin=origin)
    split = build.dataset(experiment.data, experiment.data.val, augment=False)
    batches = evaluation_loader(
        split, workers=worker_count(experiment.data.workers), rank=place.rank, world=place.world
    )
    with tqdm(total=len(batches), unit="picture", disable=None if place.is_main else True, file=sys.stderr) as bar:
        scores = score(task.to(device), batches, device, on_batch=lambda: bar.update())
    distributed.stop()
    return {**scores, "protocol": task.predictor.describe(), "weights": origin, **cost(task, experiment, split)}


def cost(task: SegmentationTask, experiment: Experiment, split: PairDataset) -> dict[str, Any]:
    """Params, and madds over all passes of the evaluation at the size the network sees the first picture in."""
    height, width = split[0].mask.shape
    size = task.predictor.input_size((height, width))
    counted = profile(task.model, image_size=size, scales=experiment.evaluate.scales, flip=experiment.evaluate.flip)
    return {"params": counted.params, "madds": counted.madds, "image_size": list(size)}
