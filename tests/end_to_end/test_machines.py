"""Several processes, as torchrun starts them: they do what one does, and end, and go on, together."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mbseg.data.shapes import draw_shapes
from mbseg.engine.distributed import Place
from mbseg.engine.lock import locked
from mbseg.evaluation import evaluate
from tests.machines import exact_training, restarts
from tests.machines.counting import count
from tests.machines.starting import HERE, torchrun
from tests.stress.training_runs import fingerprint

EXACT = 1e-12  # of weights behind 20 steps in float64
LEARNS = 1e-3  # by which weights move in them
SHARED = [
    *("train.steps=20", "train.evaluate_every=20", "train.ema_decay=null"),
    # a training that runs wild would blow up the last bits, in which sums of another order differ
    *("train.optimizer.learning_rate=0.001", "train.clip_norm=1"),
]
PIXELS = [
    *(*SHARED, "train.accumulate=2", "model.head.dropout=0", "train.loss.class_weights=inverse_log"),
    *("train.loss.dice=0.5", "train.loss.focal=0.5", "train.loss.label_smoothing=0.1"),
]
SIX_STEPS = ["train.steps=6", "train.checkpoint_every=2", "data.workers=1"]


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: dict[str, Any]) -> dict[str, str]:
    """By task, the file of a tiny experiment."""
    folder = tmp_path_factory.mktemp("configs")
    boxes = {
        "task": "detection",
        "model": {"backbone": {"name": "mobilenet_v3_small", "width_mult": 0.35}, "image_size": [64, 96]},
        "data": {name: tree_of(tiny_experiment, "data")[name] for name in ("kind", "root", "workers")},
    }
    trees = {"segmentation": tiny_experiment, "detection": {**tiny_experiment, **boxes}}
    for task, tree in trees.items():
        (folder / f"{task}.yaml").write_text(yaml.safe_dump(tree))
    return {task: str(folder / f"{task}.yaml") for task in trees}


def tree_of(tree: dict[str, Any], name: str) -> dict[str, Any]:
    part: dict[str, Any] = tree[name]
    return part


def test_two_processes_train_the_weights_that_one_trains(configs: dict[str, str], tmp_path: Path) -> None:
    def jobs(name: str, batch_size: int) -> list[Any]:
        size = f"train.batch_size={batch_size}"
        return [
            (configs["segmentation"], str(tmp_path / name / "pixels"), [size, *PIXELS]),
            (configs["detection"], str(tmp_path / name / "boxes"), [size, *SHARED]),
        ]

    done = torchrun(HERE / "exact_training.py", json.dumps(jobs("two", 2)), str(tmp_path / "two.pt"))
    assert done.returncode == 0, done.stderr
    for job, (before, together) in zip(jobs("one", 4), torch.load(tmp_path / "two.pt"), strict=True):
        _, alone = exact_training.train(job[0], Path(job[1]), job[2], Place())
        assert max((alone[name] - together[name]).abs().max() for name in alone) < EXACT
        assert max((alone[name] - before[name]).abs().max() for name in alone) > LEARNS


@pytest.mark.parametrize("processes", [2, 3])
def test_every_picture_is_counted_once_whatever_the_number_of_processes(
    processes: int, untrained: Any, tmp_path: Path
) -> None:
    weights, roots = str(untrained("joint")), [tmp_path / str(pictures) for pictures in (2, 5, 101)]
    for root in roots:
        draw_shapes(root, train=1, val=int(root.name), size=(60, 75))
    done = torchrun(HERE / "counting.py", weights, str(tmp_path / "counts"), *map(str, roots), processes=processes)
    assert done.returncode == 0, done.stderr
    for root, together in zip(roots, json.loads((tmp_path / "counts").read_text()), strict=True):
        assert together == json.loads(json.dumps(count(weights, str(root), Place()))), root.name
        for found in together:
            assert found["pictures"] == [int(root.name)] * 3
            assert len(found["boxes"]) > int(root.name)


@pytest.fixture(scope="module")
def whole(configs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the result of two processes that nobody harmed."""
    folder = tmp_path_factory.mktemp("whole")
    done = restarts.train(configs["segmentation"], folder, *SIX_STEPS)
    return folder, json.loads(done.stdout)  # one of them speaks


def test_a_fault_of_one_ends_all_with_its_one_line_and_restarts_lead_to_the_same_weights(
    configs: dict[str, str], whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config, (folder, result) = configs["segmentation"], whole
    said = restarts.train(config, tmp_path / "harmed", *SIX_STEPS, faults=restarts.EVERY_KIND).stderr
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == len(restarts.EVERY_KIND), said
    assert errors[0] == "error: drawn.jpg is damaged"
    assert errors[1].startswith("error: cannot write ") and "No space left on device" in errors[1]
    assert errors[2].startswith("error: lost another process")
    assert "[rank" not in said  # as torch begins the lines of a traceback
    assert fingerprint(tmp_path / "harmed") == fingerprint(folder)
    alone = evaluate(result["weights"], [], weights=None, run=tmp_path)
    assert (alone["images"], alone["miou"]) == (result["images"], result["miou"])


def test_a_signal_to_one_ends_all_behind_the_same_step_and_they_go_on_from_there(
    configs: dict[str, str], whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    said = restarts.train(configs["segmentation"], tmp_path, *SIX_STEPS, faults=restarts.TOLD_TWICE).stderr
    stopped = [line for line in said.splitlines() if line.startswith(("stopped", "error:"))]
    assert stopped == [f"stopped at step {step}; go on with --resume" for step in (3, 6)], said
    assert fingerprint(tmp_path) == fingerprint(whole[0])


def test_a_folder_in_use_is_refused_by_one_line_of_all_processes(configs: dict[str, str], tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        done = torchrun(restarts.FAULTY, "train", configs["segmentation"], "--output", str(tmp_path / "run"))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "is in use by process" in errors[0], done.stderr
