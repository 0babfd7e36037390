"""A training that is stopped, killed or has crashed goes on to the bits of one that was left alone."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mbseg import training
from mbseg.config.load import load_experiment
from mbseg.config.schema import Experiment
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.fit import Trainer
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.stopping import Stopped, Stopping
from mbseg.errors import RunError
from mbseg.training import train
from mbseg.weights.store import read_weights

OF_TIME = ("seconds", "pictures_per_second")
PIXELS = ["train.loss.dice=1", "train.loss.class_weights=inverse_log", "train.precision=fp32"]
RECIPES = {
    "segmentation": [*PIXELS, "train.accumulate=2", "train.batch_size=3"],
    "segmentation, rounded": ["train.quantization_aware=true", "train.optimizer.name=adamw", "train.precision=bf16"],
    "detection": ["train.optimizer.name=adamw", "train.precision=fp32", "train.clip_norm=1"],
    "joint": ["train.ema_decay=null", "train.precision=bf16", "train.freeze_norm=true"],
}
STEPS = ["train.steps=6", "train.evaluate_every=2", "train.checkpoint_every=3", "train.log_every=4", "train.samples=1"]


class CrashError(Exception):
    """Stands for a kill at a moment of our choice."""


@pytest.fixture(scope="session")
def make_experiment(
    tiny_experiment: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Experiment]:
    """The tiny experiment of a recipe."""

    def make(recipe: str) -> Experiment:
        task = recipe.partition(",")[0]
        tree = {**tiny_experiment, "task": task}
        if task != "segmentation":
            data = {name: tree["data"][name] for name in ("kind", "root", "workers")}
            head = {"kind": "lraspp"} if task == "joint" else {}
            backbone = {"name": "mobilenet_v3_small", "width_mult": 0.35}
            tree |= {"data": data, "model": {"backbone": backbone, "image_size": [64, 96], "head": head}}
        path = tmp_path_factory.mktemp("config") / "tiny.yaml"
        path.write_text(yaml.safe_dump(tree))
        return load_experiment(str(path), [*STEPS, *RECIPES[recipe]])

    return make


@pytest.fixture(scope="session")
def left_alone(
    make_experiment: Callable[[str], Experiment], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], RunFolder]:
    """The finished run of a recipe, trained once."""
    made: dict[str, RunFolder] = {}

    def run(recipe: str) -> RunFolder:
        if recipe not in made:
            made[recipe] = RunFolder(tmp_path_factory.mktemp("whole") / "run")
            train(make_experiment(recipe), made[recipe], resume=False)
        return made[recipe]

    return run


def crash(before: int, part: type[Any] | Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`part.name` works `before` times, and then no longer."""
    calls: list[None] = []
    works = getattr(part, name)

    def work(*arguments: Any, **named: Any) -> Any:
        if len(calls) == before:
            raise CrashError
        calls.append(None)
        return works(*arguments, **named)

    monkeypatch.setattr(part, name, work)


def contents(folder: RunFolder) -> dict[str, Any]:
    """All that must be equal, tensors as bytes."""
    checkpoint = load_checkpoint(folder.last)
    progress = {name: without_times(value) for name, value in without_times(checkpoint.progress).items()}
    weights, card = read_weights(folder.best)
    assert card is not None
    return {
        "model": as_bytes(checkpoint.model),
        "optimizer": as_bytes(checkpoint.optimizer),
        "average": as_bytes(checkpoint.average),
        "progress": as_bytes(progress),
        "best": as_bytes(weights),
        "card": without_times(card.metrics),
        "metrics": [without_times(line) for line in folder.read_metrics()],
        "result": {**without_times(folder.read_result()), "weights": ""},
        "samples": sorted(path.name for path in folder.samples.iterdir()),
    }


def without_times(value: Any) -> Any:
    return {name: one for name, one in value.items() if name not in OF_TIME} if isinstance(value, dict) else value


def as_bytes(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.dtype, tree.shape, tree.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(tree, dict):
        return {name: as_bytes(value) for name, value in tree.items()}
    return [as_bytes(value) for value in tree] if isinstance(tree, list) else tree


def assert_equal(stitched: RunFolder, whole: RunFolder) -> None:
    ours, theirs = contents(stitched), contents(whole)
    assert [name for name in theirs if ours[name] != theirs[name]] == []


@pytest.mark.parametrize(
    ("moment", "part", "before"),
    [
        ("in the first step", (Trainer, "_step"), 0),
        ("in a step behind a checkpoint", (Trainer, "_step"), 4),
        ("when the best weights are written and the checkpoint is not", (Trainer, "_write_checkpoint"), 1),
        ("in the midst of an evaluation", (Stopping, "obey"), 10),
        ("when all is done but the result", (training, "finish"), 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_crash_at_any_moment_leaves_no_trace(
    moment: str,
    part: tuple[Any, str],
    before: int,
    make_experiment: Callable[[str], Experiment],
    left_alone: Callable[[str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert moment
    experiment, folder = make_experiment("segmentation"), RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        crash(before, *part, patch)
        with pytest.raises(CrashError):
            train(experiment, folder, resume=False)
    train(experiment, folder, resume=True)
    assert_equal(folder, left_alone("segmentation"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_told_to_end_in_any_step_goes_on_as_if_it_had_not(
    recipe: str,
    make_experiment: Callable[[str], Experiment],
    left_alone: Callable[[str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, folder = make_experiment(recipe), RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        for step in told_to_end_in_every(Trainer, "_step", patch):
            with pytest.raises(Stopped, match=f"stopped at step {step}"):
                train(experiment, folder, resume=step > 1)
            assert load_checkpoint(folder.last).step == step
            assert [path.name for path in folder.path.glob(".*")] == []
            if step == 5:
                break
    train(experiment, folder, resume=True)
    assert_equal(folder, left_alone(recipe))


def told_to_end_in_every(part: type[Any], name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    works = getattr(part, name)

    def work(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return works(*arguments)

    monkeypatch.setattr(part, name, work)
    yield from range(1, 100)


def test_an_evaluation_is_left_at_once_and_done_again(
    make_experiment: Callable[[str], Experiment],
    left_alone: Callable[[str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, folder = make_experiment("segmentation"), RunFolder(tmp_path / "run")
    told_in_evaluation(monkeypatch)
    with pytest.raises(Stopped, match="stopped at step 2"):
        train(experiment, folder, resume=False)
    assert folder.evaluations() == []
    with monkeypatch.context() as patch:  # and crashed when it was done again
        crash(0, Trainer, "_step", patch)
        with pytest.raises(CrashError):
            train(experiment, folder, resume=True)
    assert [line["step"] for line in folder.evaluations()] == [2]
    train(experiment, folder, resume=True)
    assert_equal(folder, left_alone("segmentation"))


def told_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    between = Stopping.between

    def told(self: Stopping, batches: Any) -> Iterator[Any]:
        for done, batch in enumerate(between(self, batches)):
            yield batch
            assert done == 0 or self.interruption.number is None
            if done == 0:
                monkeypatch.undo()
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Stopping, "between", told)


def test_the_last_signal_is_obeyed_too(
    make_experiment: Callable[[str], Experiment],
    left_alone: Callable[[str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, folder = make_experiment("segmentation"), RunFolder(tmp_path / "run")
    write = Trainer._write_checkpoint

    def told(trainer: Trainer) -> None:
        write(trainer)
        if trainer.progress.step == experiment.train.steps:
            monkeypatch.undo()
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_write_checkpoint", told)
    with pytest.raises(Stopped, match="stopped at step 6"):
        train(experiment, folder, resume=False)
    train(experiment, folder, resume=True)
    assert_equal(folder, left_alone("segmentation"))


def test_weights_that_were_removed_behind_the_last_evaluation_are_missed(
    make_experiment: Callable[[str], Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, folder = make_experiment("detection"), RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        crash(0, training, "finish", patch)
        with pytest.raises(CrashError):
            train(experiment, folder, resume=False)
    folder.best.unlink()
    with pytest.raises(RunError, match=r"is finished, but best\.safetensors is gone"):
        train(experiment, folder, resume=True)


def test_a_checkpoint_that_is_gone_is_missed_and_nothing_lost(
    make_experiment: Callable[[str], Experiment],
    left_alone: Callable[[str], RunFolder],
    tmp_path: Path,
) -> None:
    experiment, folder = make_experiment("segmentation"), RunFolder(tmp_path / "run")
    shutil.copytree(left_alone("segmentation").path, folder.path)
    folder.result.unlink()
    folder.last.unlink()
    for lost in (folder.last, folder.metrics):
        lost.unlink(missing_ok=True)
        kept = {path: path.read_bytes() for path in folder.path.glob("*.*") if path.is_file()}
        with pytest.raises(RunError, match=r"last\.pt is gone"):
            train(experiment, folder, resume=True)
        assert {path: path.read_bytes() for path in kept} == kept


def test_a_training_killed_before_its_first_checkpoint_begins_again_however_often(
    make_experiment: Callable[[str], Experiment],
    left_alone: Callable[[str], RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, folder = make_experiment("segmentation"), RunFolder(tmp_path / "run")
    for part, name, before in [(Trainer, "_write_checkpoint", 0), (Trainer, "_step", 0), (Trainer, "_step", 1)]:
        with monkeypatch.context() as patch:
            crash(before, part, name, patch)
            with pytest.raises(CrashError):
                train(experiment, folder, resume=True)
        assert not folder.last.exists()
    train(experiment, folder, resume=True)
    assert_equal(folder, left_alone("segmentation"))


def test_two_deterministic_trainings_give_the_same_bits(config: str, tmp_path: Path) -> None:
    once, again = (RunFolder(tmp_path / name) for name in ("once", "again"))
    experiment = load_experiment(config, ["train.deterministic=true", "train.steps=2"])
    for folder in (once, again):
        train(experiment, folder, resume=False)
    assert_equal(once, again)
