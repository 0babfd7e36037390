"""Fine-tuning under the rounding of int8: exact to resume, its weights those of a plain model, scored as it trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mbseg
from mbseg.config.load import load_experiment
from mbseg.data.shapes import draw_shapes
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.distributed import Place
from mbseg.engine.fit import Trainer
from mbseg.engine.run_folder import RunFolder
from mbseg.nn.fake_quantize import FakeQuantConv2d
from mbseg.training import make_trainer, train

AWARE = "train.quantization_aware=true"


class KilledError(Exception):
    """Stands for a crash in the middle of a training."""


def run(config: str, output: Path, *overrides: str, resume: bool = False) -> dict[str, Any]:
    return train(load_experiment(config, overrides), RunFolder(output), resume=resume)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "last.pt").model


def different(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def test_k_and_the_remaining_steps_give_the_bits_of_n_steps_under_rounding(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [AWARE, "train.steps=4", "train.evaluate_every=2", "train.samples=0"]
    whole = run(config, tmp_path / "whole", *overrides)
    step_once = Trainer._step

    def step(self: Trainer, module: torch.nn.Module, batches: Any, step: int) -> dict[str, torch.Tensor]:
        if step == 3:
            raise KilledError
        return step_once(self, module, batches, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        with pytest.raises(KilledError):
            run(config, tmp_path / "stitched", *overrides)
    stitched = run(config, tmp_path / "stitched", *overrides, resume=True)
    assert not different(weights_of(tmp_path / "whole"), weights_of(tmp_path / "stitched"))
    assert stitched["last_miou"] == whole["last_miou"]


def test_the_weights_are_those_of_a_plain_model_and_start_another_training(config: str, tmp_path: Path) -> None:
    short = ["train.steps=1", "train.samples=0", "train.precision=fp32"]
    run(config, tmp_path / "plain", *short)
    start = f"model.weights={tmp_path / 'plain' / 'best.safetensors'}"
    run(config, tmp_path / "aware", *short, start, AWARE)
    run(config, tmp_path / "unaware", *short, start)
    model = mbseg.load(tmp_path / "aware" / "best.safetensors")
    assert not any(isinstance(part, FakeQuantConv2d) for part in model.modules())
    assert "backbone.stem.conv.weight" in different(weights_of(tmp_path / "aware"), weights_of(tmp_path / "unaware"))


def test_steps_and_scores_alike_are_those_of_the_rounded_network(config: str, tmp_path: Path) -> None:
    experiment = load_experiment(config, [AWARE])
    trainer = make_trainer(experiment, RunFolder(tmp_path), torch.device("cpu"), Place(), pretrained=False)
    task = trainer.task
    assert task.predictor.model is task.model
    convolutions = [part for part in task.model.modules() if isinstance(part, nn.Conv2d)]
    assert convolutions and all(isinstance(part, FakeQuantConv2d) for part in convolutions)
    learned = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert learned == {id(weight) for weight in task.model.parameters()}


def test_a_detector_trains_under_rounding(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", train=8, val=2, size=(64, 96))
    overrides = [
        *(f"data.root={tmp_path / 'shapes'}", "data.workers=0", "device=cpu", "model.image_size=[64, 96]", AWARE),
        *("train.steps=1", "train.batch_size=4", "train.evaluate_every=1", "train.samples=1"),
    ]
    assert 0 <= run("quickstart_detection", tmp_path / "run", *overrides)["ap50"] <= 1
