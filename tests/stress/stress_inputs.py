"""Damaged inputs over all readers: each is read, or refused in one line, in bounded time, memory and place."""

import itertools
import pickle
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.stress.figures import Figures
from tests.stress.inputs.corpus import make_corpus
from tests.stress.inputs.picture_seeds import put
from tests.stress.inputs.readers import READERS
from tests.stress.inputs.watching import Case, Outcome, Watched, damaged
from tests.stress.processes import SIDE_BY_SIDE, start
from tests.stress.stitching import references

Judged = tuple[Case, Outcome]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    file = folder / "corpus.pickle"
    references(folder, variants=1)
    run, prediction = folder / "whole0", folder / "prediction"
    picture = folder / "shapes" / "JPEGImages" / "val_000000.jpg"
    arguments = ["predict", str(run / "best.safetensors"), str(picture), str(prediction), "--shard", "1/1"]
    assert start(arguments, folder / "predict.log").exit_code == 0
    file.write_bytes(pickle.dumps(make_corpus(folder, run, prediction)))
    return file


def test_no_damaged_input_gets_further_than_one_line(
    corpus: Path, tmp_path: Path, figures: Figures, pytestconfig: pytest.Config
) -> None:
    cases = chosen(pytestconfig.getoption("inputs"), pytestconfig.getoption("seed"))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        parts = pool.map(partial(all_judged, corpus, tmp_path), range(SIDE_BY_SIDE), parted(cases))
    judged = list(itertools.chain.from_iterable(parts))
    figures.note("damaged inputs", summed_up(judged))
    if lines := faults(judged, corpus, tmp_path / "findings"):
        pytest.fail("\n".join(lines), pytrace=False)


def chosen(count: int, seed: int) -> list[Case]:
    """The readers in turn."""
    names = list(READERS)
    return [Case(seed, names[number % len(names)], number // len(names)) for number in range(count)]


def parted(cases: list[Case]) -> list[list[Case]]:
    return [cases[first::SIDE_BY_SIDE] for first in range(SIDE_BY_SIDE)]


def all_judged(corpus: Path, folder: Path, part: int, cases: Iterable[Case]) -> list[Judged]:
    watched = Watched(corpus, folder / f"place{part}")
    try:
        return [(case, twice(watched, case)) for case in cases]
    finally:
        watched.end()


def twice(watched: Watched, case: Case) -> Outcome:
    """A hang may be somebody else's who had the cores: it counts if it comes again."""
    outcome = watched.judge(case)
    return watched.judge(case) if outcome.kind == "hang" else outcome


def summed_up(judged: list[Judged]) -> dict[str, object]:
    kinds = Counter("fault" if outcome.is_fault else outcome.kind for _, outcome in judged)
    slowest = max(judged, key=lambda one: one[1].seconds)
    return {
        "inputs": len(judged),
        "readers": len({case.reader for case, _ in judged}),
        "refused in one line": kinds["refused"],
        "read in spite of the damage": kinds["read"],
        "faults": kinds["fault"],
        "slowest, s": f"{slowest[1].seconds:.2f} ({slowest[0].reader})",
        "most memory, MiB": max(outcome.megabytes for _, outcome in judged),
    }


def faults(judged: list[Judged], corpus: Path, folder: Path) -> list[str]:
    """One line for each kind, with its first input, which is kept."""
    seeds = pickle.loads(corpus.read_bytes())
    kinds: dict[tuple[str, str], list[Judged]] = {}
    for case, outcome in judged:
        if outcome.is_fault:
            kinds.setdefault((case.reader, outcome.kind), []).append((case, outcome))
    lines = []
    for (reader, kind), found in kinds.items():
        case, outcome = found[0]
        kept = put(folder / f"{case.reader} {case.number}", damaged(case, seeds[reader]))
        lines.append(f"{reader}: {kind}: {outcome.text!r} ({len(found)} times, the first: {kept})")
    return lines
