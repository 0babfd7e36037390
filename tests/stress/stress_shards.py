"""A prediction in 16 parts that are killed at random moments has the bytes of one that was left alone."""

import random
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from mbseg.data.shapes import draw_shapes
from mbseg.files import TEMPORARY_SUFFIX
from tests.end_to_end.conftest import save_untrained
from tests.stress.figures import Figures
from tests.stress.processes import SIDE_BY_SIDE, Command, start
from tests.stress.training_runs import TREE

SHARDS = 16
PICTURES = 96


@dataclass(frozen=True)
class Prediction:
    """What is asked for: masks and boxes, by a network that finds something everywhere."""

    weights: Path
    pictures: Path

    def shard(self, number: int, count: int, output: Path) -> Command:
        arguments = ["predict", str(self.weights), str(self.pictures), str(output), "threads=1"]
        return start([*arguments, "--shard", f"{number}/{count}"], output.with_suffix(f".{number}.log"))


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    folder = tmp_path_factory.mktemp("prediction")
    draw_shapes(folder / "shapes", train=PICTURES, val=1, size=(96, 128))
    weights = folder / "joint.safetensors"
    save_untrained(weights, "joint", {**TREE, "data": {**TREE["data"], "root": str(folder / "shapes")}})
    return Prediction(weights, folder / "shapes" / "JPEGImages")


def test_sixteen_shards_that_are_killed_give_the_bytes_of_one(
    prediction: Prediction, tmp_path: Path, figures: Figures, pytestconfig: pytest.Config
) -> None:
    seconds_of(prediction.shard(1, 1, tmp_path / "one"))
    usual = seconds_of(prediction.shard(1, SHARDS, tmp_path / "spare"))
    each, seed = -(-pytestconfig.getoption("shard_kills") // SHARDS), pytestconfig.getoption("seed")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        work = partial(killed_and_run_again, prediction, tmp_path / "sixteen", seed, each, usual)
        kills = list(pool.map(work, range(1, SHARDS + 1)))
    for name in "one", "sixteen":
        seconds_of(start(["merge", str(tmp_path / name)], tmp_path / "merge.log"))
    one, sixteen = (contents(tmp_path / name) for name in ("one", "sixteen"))
    unlike = sorted(name for name in one.keys() | sixteen.keys() if one.get(name) != sixteen.get(name))
    left = list((tmp_path / "sixteen").rglob(f"*{TEMPORARY_SUFFIX}"))
    figures.note(
        "shards killed",
        {"shards": SHARDS, "kills": sum(kills), "files": len(one), "files unlike": len(unlike), "temporary": len(left)},
    )
    assert unlike == [] and left == []


def killed_and_run_again(
    prediction: Prediction, output: Path, seed: int, wanted: int, usual: float, number: int
) -> int:
    """How often shard `number` was killed before it was let come to its end."""
    chance, kills = random.Random(f"{seed} shard {number}"), 0
    for _ in range(wanted):
        command = prediction.shard(number, SHARDS, output)
        if not command.ended_within(chance.uniform(0, usual)):
            command.send(signal.SIGKILL)
        assert command.exit_code in (0, 128 + signal.SIGKILL), command.last_words
        kills += command.exit_code != 0
    seconds_of(prediction.shard(number, SHARDS, output))
    return kills


def seconds_of(command: Command) -> float:
    """Until its good end."""
    assert command.exit_code == 0, command.last_words
    return command.seconds


def contents(folder: Path) -> dict[str, bytes]:
    """Of all that is the prediction's; the shards' own manifests are not."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("manifest-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if not path.name.startswith(".")}
