"""`mbseg train` as users run it: what it leaves, how it resumes, what it survives."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import mbseg
from mbseg.cli import main
from mbseg.config.load import load_experiment
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.fit import Trainer
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import RunError
from mbseg.targets import read_target
from mbseg.training import train


class KilledError(Exception):
    """Stands for a crash in the middle of a training."""


def run(config: str, output: Path, *overrides: str, resume: bool = False) -> dict[str, object]:
    return train(load_experiment(config, overrides), RunFolder(output), resume=resume)


def crash_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training dies in step `steps` + 1."""
    step_once = Trainer._step

    def step(self: Trainer, module: torch.nn.Module, batches: object, step: int) -> dict[str, torch.Tensor]:
        if step == steps:
            raise KilledError
        return step_once(self, module, batches, step)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", step)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(folder / "last.pt")
    assert checkpoint.average is not None
    raw = {f"raw.{name}": value for name, value in checkpoint.model.items()}
    return {**raw, **{f"average.{name}": value for name, value in checkpoint.average["state"].items()}}


def assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def test_a_run_folder_holds_all_that_is_promised(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", config, "--output", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 <= result["miou"] <= 1
    folder = RunFolder(tmp_path / "run")
    for path in (folder.config, folder.metrics, folder.last, folder.best, folder.curve, folder.result):
        assert path.stat().st_size > 0, path
    assert {path.name[:6] for path in folder.samples.iterdir()} == {"000003", "000006"}
    lines = list(folder.read_metrics())
    assert [line["step"] for line in lines if line["part"] == "val"] == [3, 6]
    assert [line["step"] for line in lines if line["part"] == "train"] == [2, 4, 6]
    with Image.open(folder.curve) as curve:
        assert curve.size[0] > 400


def test_the_best_weights_are_a_whole_model_with_classes_and_config(config: str, tmp_path: Path) -> None:
    run(config, tmp_path / "run")
    model = mbseg.load(tmp_path / "run" / "best.safetensors")
    assert model.card is not None
    assert model.card.classes[0] == "background"
    assert model.card.config["train"]["steps"] == 6
    assert model(torch.zeros(1, 3, 49, 49)).shape == (1, len(model.card.classes), 4, 4)


@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (3, 0), (5, 0), (1, 2), (3, 1), (5, 3), (1, 4)])
def test_k_and_the_remaining_steps_give_the_bits_of_n_steps(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, workers: int
) -> None:
    often = ["train.checkpoint_every=2", "train.accumulate=2", "train.batch_size=3", "train.evaluate_every=2"]
    run(config, tmp_path / "whole", *often)
    with monkeypatch.context() as patch:
        crash_after(stop, patch)
        with pytest.raises(KilledError):
            run(config, tmp_path / "stitched", *often)
    run(config, tmp_path / "stitched", *often, f"data.workers={workers}", resume=True)
    assert_same_bits(weights_of(tmp_path / "whole"), weights_of(tmp_path / "stitched"))
    whole, stitched = (list(RunFolder(tmp_path / name).read_metrics()) for name in ("whole", "stitched"))
    assert [(line["step"], line.get("miou")) for line in whole if line["part"] == "val"] == [
        (line["step"], line.get("miou")) for line in stitched if line["part"] == "val"
    ]


def test_another_seed_gives_other_weights(config: str, tmp_path: Path) -> None:
    """So that the test above could fail."""
    run(config, tmp_path / "a", "train.steps=1")
    run(config, tmp_path / "b", "train.steps=1", "train.seed=1")
    with pytest.raises(AssertionError):
        assert_same_bits(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_bits_of_a_whole_one(config: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "killed")
    overrides = ["train.steps=30", "train.checkpoint_every=2", "train.evaluate_every=30", "train.samples=0"]
    command = [sys.executable, "-m", "mbseg", "train", config, *overrides, "--output", str(folder.path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not folder.last.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= load_checkpoint(folder.last).step <= 30
    run(config, folder.path, *overrides, resume=True)
    run(config, tmp_path / "whole", *overrides)
    assert_same_bits(weights_of(folder.path), weights_of(tmp_path / "whole"))


def test_a_run_killed_before_its_first_checkpoint_starts_again_cleanly(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        crash_after(2, patch)
        with pytest.raises(KilledError):
            run(config, tmp_path / "run")
    run(config, tmp_path / "run", resume=True)
    assert [line["step"] for line in RunFolder(tmp_path / "run").read_metrics()] == [2, 3, 4, 6, 6]


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.loss.dice=1", "train.loss.focal=1", "train.loss.class_weights=inverse_log"],
        ["train.loss.lovasz=1", "train.loss.label_smoothing=0.1", "train.clip_norm=1"],
        ["train.optimizer.name=adamw", "train.schedule.name=cosine", "train.schedule.warmup_steps=1"],
        ["train.freeze_norm=true", "train.ema_decay=null", "train.precision=bf16"],
        ["train.channels_last=false", "train.precision=fp32", "model.align_corners=false", "data.augment.rotate=10"],
        ["evaluate.scales=[0.5, 1.0]", "evaluate.flip=true", "data.augment.hue=0.1"],
        ["evaluate.resize_longer_side=49", "evaluate.pad_to=[49, 49]"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_option_trains_and_evaluates(overrides: list[str], config: str, tmp_path: Path) -> None:
    assert 0 <= run(config, tmp_path / "run", "train.steps=1", *overrides)["pixel_accuracy"] <= 1


def test_frozen_statistics_of_the_backbone_stand_still(config: str, tmp_path: Path) -> None:
    run(config, tmp_path / "run", "train.steps=2", "train.freeze_norm=true")
    state = load_checkpoint(tmp_path / "run" / "last.pt").model
    assert not state["backbone.stem.norm.running_mean"].any()
    assert state["head.pyramid.project.norm.running_mean"].any()


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_good_state(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train.optimizer.learning_rate=1e30", "train.checkpoint_every=1", "--output", str(tmp_path / "run")]
    assert main(["train", config, "train.max_nonfinite_steps=2", *arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"not finite at step (\d) and the 1 before \(cross_entropy nan, gradient norm nan\)", message)
    assert re.search(r"last\.pt keeps step \d;", message)
    state = load_checkpoint(tmp_path / "run" / "last.pt").model
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_flipped_byte_in_a_checkpoint_is_noticed(config: str, tmp_path: Path) -> None:
    run(config, tmp_path / "run", "train.steps=1")
    last = tmp_path / "run" / "last.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 64
    last.write_bytes(content)
    with pytest.raises(RunError, match=r"last\.pt is damaged"):
        load_checkpoint(last)


def test_a_finished_run_resumed_gives_its_result_at_once(config: str, tmp_path: Path) -> None:
    first = run(config, tmp_path / "run", "train.steps=1")
    before = (tmp_path / "run" / "last.pt").stat().st_mtime_ns
    assert run(config, tmp_path / "run", "train.steps=1", resume=True) == first
    assert (tmp_path / "run" / "last.pt").stat().st_mtime_ns == before


def test_evaluating_the_best_weights_gives_the_score_of_the_training(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run(config, tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run" / "best.safetensors"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["miou"] == trained["miou"]
    assert scores["images"] == 5
    assert scores["image_size"] == [65, 81]  # 60 x 75, padded to 16 k + 1
    assert scores["params"] > 0
    assert main(["evaluate", config, "--weights", str(tmp_path / "run" / "best.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["miou"] == trained["miou"]


def test_a_checkpoint_is_scored_with_averaged_or_raw_weights(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run(config, tmp_path / "run", "train.steps=4")
    last = tmp_path / "run" / "last.pt"
    assert main(["evaluate", config, "--weights", str(last), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["miou"] == trained["last_miou"]
    checkpoint = load_checkpoint(last)
    assert checkpoint.average is not None
    for ema, expected in (("true", checkpoint.average["state"]), ("false", checkpoint.model)):
        _, state, _ = read_target(config, [f"evaluate.ema={ema}"], weights=last, run=tmp_path)
        assert_same_bits(state, expected)
    with pytest.raises(AssertionError):
        assert_same_bits(checkpoint.average["state"], checkpoint.model)
