"""Trainings that are killed at random moments come to the same end, and lose nothing on the way."""

import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.stress.figures import Figures
from tests.stress.processes import repeated
from tests.stress.stitching import Reference, Stitched, references, stitched


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Reference]:
    return references(tmp_path_factory.mktemp("whole"))


def test_a_training_killed_anywhere_ends_in_the_bits_of_a_whole_one(
    whole: list[Reference], tmp_path: Path, figures: Figures, pytestconfig: pytest.Config
) -> None:
    wanted = pytestconfig.getoption("kills")
    runs = interrupted_runs(whole, tmp_path, pytestconfig.getoption("seed"), signal.SIGKILL, wanted)
    figures.note("kill -9", summed_up(runs))
    assert sum(run.interruptions for run in runs) >= wanted
    assert [run for run in runs if not run.is_right] == []


def test_a_training_that_is_told_to_end_saves_its_state_and_says_so(
    whole: list[Reference], tmp_path: Path, figures: Figures, pytestconfig: pytest.Config
) -> None:
    wanted = pytestconfig.getoption("terminations")
    runs = interrupted_runs(whole, tmp_path, pytestconfig.getoption("seed"), signal.SIGTERM, wanted)
    slowest = max(run.slowest_end for run in runs)
    early = sum(run.at_once for run in runs)
    figures.note("SIGTERM", {**summed_up(runs), "before it listened": early, "slowest end, s": round(slowest, 2)})
    assert [run for run in runs if not run.is_right] == []


def interrupted_runs(
    whole: list[Reference], folder: Path, seed: int, how: signal.Signals, wanted: int
) -> list[Stitched]:
    return repeated(
        partial(stitched, folder, whole, seed, how), lambda runs: sum(run.interruptions for run in runs) >= wanted
    )


def summed_up(runs: list[Stitched]) -> dict[str, object]:
    phases = sum((run.phases for run in runs), Counter[str]())
    return {
        "interruptions": sum(run.interruptions for run in runs),
        "runs": len(runs),
        "runs equal to a whole one": sum(run.is_equal for run in runs),
        "files torn": sum(len(run.faults) for run in runs),
        "attempts refused": sum(len(run.refused) for run in runs),
        "workers left": sum(run.orphans for run in runs),
        "temporary files left": sum(len(run.left_behind) for run in runs),
        **{f"while: {name}": count for name, count in phases.most_common()},
    }
