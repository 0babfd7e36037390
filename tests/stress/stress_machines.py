"""Trainings on several processes whose processes are killed come to the weights of one that nobody harmed."""

import random
from pathlib import Path

import pytest
import yaml

from mbseg.data.shapes import draw_shapes
from tests.machines import restarts
from tests.machines.starting import Fault
from tests.stress.figures import Figures
from tests.stress.training_runs import TREE, fingerprint

SHORT = ["train.steps=8", "train.batch_size=2", "data.workers=1", "train.accumulate=2"]
KILLS = 3  # in one training
TRAININGS = 2


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("machines")
    draw_shapes(folder / "shapes", train=24, val=5, size=(64, 64))
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**TREE, "data": {**TREE["data"], "root": str(folder / "shapes")}}))
    return str(file)


@pytest.fixture(scope="module")
def whole(config: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole") / "run"
    restarts.train(config, folder, *SHORT)
    return fingerprint(folder)


def test_ranks_killed_again_and_again_lose_nothing(
    config: str, whole: str, tmp_path: Path, figures: Figures, pytestconfig: pytest.Config
) -> None:
    chance = random.Random(pytestconfig.getoption("seed"))
    plans = [restarts.KILLED_TWICE, *(random_kills(chance) for _ in range(TRAININGS))]
    equal = []
    for number, plan in enumerate(plans):
        restarts.train(config, tmp_path / str(number), *SHORT, faults=plan)
        equal.append(fingerprint(tmp_path / str(number)) == whole)
    kills = sum(map(len, plans))
    figures.note(
        "torchrun, ranks killed", {"trainings": len(plans), "kills": kills, "equal to a whole one": sum(equal)}
    )
    assert all(equal), plans


def random_kills(chance: random.Random) -> list[Fault]:
    """One in every start but the last, of either rank, at a step that comes soon enough to be reached."""
    return [Fault(start, chance.randrange(2), chance.randint(1, 3), "killed") for start in range(KILLS)]


def test_two_agents_do_what_one_does(config: str, whole: str, tmp_path: Path, figures: Figures) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third", "fourth")]
    for folder in folders:
        folder.mkdir()
    quiet = restarts.train_on_two_machines(config, folders[:2], *SHORT)
    harmed = restarts.train_on_two_machines(config, folders[2:], *SHORT, faults=restarts.KILLED_TWICE)
    equal = [fingerprint(run) == whole for run in (quiet, harmed)]
    figures.note("two agents on 127.0.0.1", {"trainings": 2, "kills": 2, "equal to one agent's": sum(equal)})
    assert all(equal)
