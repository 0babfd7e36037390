"""What a joint model finds in splits of several sizes, counted by one process or by those that torchrun starts.

`counting.py WEIGHTS FILE ROOT ...`: FILE gets what `count` makes of the split in each ROOT.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from mbseg.build import builder
from mbseg.engine.distributed import Place, joined
from mbseg.evaluation import measured
from mbseg.frame_scores import measure_frames
from mbseg.predictors import load_predictor
from mbseg.targets import read_target
from mbseg.tasks.joint import JointMetric

CPU = torch.device("cpu")


def main(weights: str, file: str, *roots: str) -> None:
    with joined(CPU) as place:
        counted = [count(weights, root, place) for root in roots]
    if place.is_main:
        Path(file).write_text(json.dumps(counted))


def count(weights: str, root: str, place: Place) -> list[dict[str, Any]]:
    """By `evaluate` of weights, and frame by frame as exported files are scored."""
    here = [f"data.root={root}"]
    experiment, state, _ = read_target(weights, here, weights=None, run=Path(root))
    parts = builder(experiment.task)
    task = parts.task(experiment, weights=False)
    task.model.load_state_dict(state)
    split: Any = parts.dataset(experiment, "val", augment=False)
    frames = load_predictor(weights, here, run=Path(root), least_score=0.0).predictor
    metrics: list[Any] = [
        measured(task, split, CPU, place, workers=0),
        measure_frames(experiment.task, split, frames, task.metric(), place),
    ]
    return [plain(metric) for metric in metrics]


def plain(metric: JointMetric) -> dict[str, Any]:
    return {
        "matrix": metric.pixels.matrix.counts.tolist(),
        "boundary": metric.pixels.boundary.counts.tolist(),
        "pictures": [metric.pixels.images, metric.masks, len(metric.boxes.pictures)],
        "boxes": metric.results(range(len(metric.boxes.classes))),
        "scores": metric.compute(),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
