"""Trainings by the real Trainer in float64 with every batch norm frozen: what differs then is the engine's doing.

`exact_training.py JOBS FILE`, alone or started by torchrun: JOBS is a JSON list of [config, folder, [key=value, ...]],
FILE gets the weights of each before its first step and behind its last.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mbseg.config.load import load_experiment
from mbseg.engine.distributed import Place, joined
from mbseg.engine.run_folder import RunFolder
from mbseg.training import make_trainer
from tests.helpers import calibrated

CPU = torch.device("cpu")
Weights = dict[str, Tensor]


class FrozenNorm(nn.BatchNorm2d):
    """Stays in eval mode whatever it is told."""

    def train(self, _mode: bool = True) -> "FrozenNorm":
        super().train(False)
        return self


def main(jobs: str, file: str) -> None:
    with joined(CPU) as place:
        trained = [train(config, Path(folder), overrides, place) for config, folder, overrides in json.loads(jobs)]
    if place.is_main:
        torch.save(trained, file)


def train(config: str, folder: Path, overrides: list[str], place: Place) -> tuple[Weights, Weights]:
    torch.manual_seed(0)
    experiment = load_experiment(config, [*overrides, "train.precision=fp32"])
    trainer = make_trainer(experiment, RunFolder(folder), CPU, place, pretrained=False)
    freeze(trainer.task.double())
    before = copied(trainer.task.model)
    if place.is_main:
        trainer.folder.make()
    trainer.fit()
    return before, copied(trainer.task.model)


def freeze(task: Any) -> None:
    """All batch norms, at the statistics of fixed random pictures: fresh ones would let the features fade."""
    calibrated(task.model, torch.randn(8, 3, 65, 65, dtype=torch.float64))
    for part in task.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.__class__ = FrozenNorm


def copied(model: nn.Module) -> Weights:
    return {name: value.clone() for name, value in model.state_dict().items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
