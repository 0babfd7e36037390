"""The speed of training against another commit's, block by block in turn, on one machine at one time.

python tests/stress/throughput.py --against COMMIT [--rounds N]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("throughput_worker.py")
NEEDED = ("mbseg", "configs", "datasets")
STEPS = 40  # of a block
BLOCK = [  # all that the engine does at its usual rate, a block being short: what is written, at every twentieth step
    *(f"train.steps={STEPS}", "train.log_every=10", "train.checkpoint_every=20", f"train.evaluate_every={STEPS}"),
    *("train.batch_size=4", "train.schedule.warmup_steps=5", "train.samples=1", "data.workers=1", "device=cpu"),
]
THREADS = (1, 2)


class Block(NamedTuple):
    """How long a training took."""

    whole: float  # seconds, from its start to its result
    steps: float  # seconds of its steps alone, loading, logging and saving included


class Ratio(NamedTuple):
    """Seconds of this engine over seconds of the other: above 1 it is slower."""

    median: float
    lower: float  # quartiles over the rounds
    upper: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.lower:.3f} to {self.upper:.3f})"


class Engine:
    """A process with the engine of one tree, which waits for blocks to train."""

    def __init__(self, tree: Path, data: Path, runs: Path) -> None:
        self.runs = runs
        command = [sys.executable, "-P", str(WORKER), *BLOCK, f"data.root={data}"]
        environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(max(THREADS))}
        self.process = subprocess.Popen(
            command, env=environment, cwd=runs.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        imported = Path(self.answer())
        assert imported.is_relative_to(tree), f"{imported} is not of {tree}"

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker has ended with exit code {self.process.wait()}"
        answer: str = json.loads(line)
        return answer

    def train(self, threads: int) -> Block:
        assert self.process.stdin is not None
        print(json.dumps([threads, str(self.runs)]), file=self.process.stdin, flush=True)
        block = Block(*map(float, self.answer()))
        shutil.rmtree(self.runs)
        return block

    def end(self) -> None:
        self.process.communicate()  # closes what it hears by


def measure(commit: str, rounds: int) -> dict[str, Ratio]:
    """Ratios by what was timed; who begins a round changes from one to the next."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        unpack_commit(commit, folder / "before")
        draw(folder / "shapes")
        with engines(folder) as (before, now):
            for threads in THREADS:
                before.train(threads), now.train(threads)  # caches and kernels
            return {
                key: ratio
                for threads in THREADS
                for key, ratio in ratios(threads, [in_turn(before, now, threads, turn) for turn in range(rounds)])
            }


@contextmanager
def engines(folder: Path) -> Iterator[tuple[Engine, Engine]]:
    before = Engine(folder / "before", folder / "shapes", folder / "run_before")
    now = Engine(ROOT, folder / "shapes", folder / "run_now")
    try:
        yield before, now
    finally:
        before.end()
        now.end()


def in_turn(before: Engine, now: Engine, threads: int, turn: int) -> tuple[Block, Block]:
    if turn % 2:
        second = now.train(threads)
        return before.train(threads), second
    return before.train(threads), now.train(threads)


def ratios(threads: int, pairs: list[tuple[Block, Block]]) -> Iterator[tuple[str, Ratio]]:
    for name in Block._fields:
        found = [getattr(now, name) / getattr(before, name) for before, now in pairs]
        lower, _, upper = quantiles(found, n=4)
        yield f"{name}, {threads} thread{'s' * (threads > 1)}", Ratio(median(found), lower, upper)


def unpack_commit(commit: str, folder: Path) -> None:
    """What of it is run; the repository is left as it is."""
    command = ["git", "-C", str(ROOT), "archive", commit, *NEEDED]
    with tarfile.open(fileobj=BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)) as archive:
        archive.extractall(folder, filter="data")


def draw(root: Path) -> None:
    """The quickstart's pictures, fewer."""
    from mbseg.data.shapes import draw_shapes

    draw_shapes(root, train=320, val=16)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", required=True, help="the commit whose engine is the one before")
    parser.add_argument("--rounds", type=int, default=24)
    options = parser.parse_args()
    print("seconds of this engine over seconds of the other: median (quartiles)")
    for name, ratio in measure(options.against, options.rounds).items():
        print(f"{name:18}  {ratio}")
