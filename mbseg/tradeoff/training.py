"""The trainings of a sweep: each a process of its own, so that several can run and none can spoil another."""

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from mbseg.config.load import to_yaml
from mbseg.config.schema import Experiment
from mbseg.engine.run_folder import RunFolder
from mbseg.files import write_atomically
from mbseg.processes import ending_with_this
from mbseg.tradeoff.addresses import training_address
from mbseg.tradeoff.rows import Row

POLL_SECONDS = 0.5


@dataclass
class Job:
    """One training in its run folder, begun or gone on with."""

    name: str  # of the first row that needs it
    address: str
    experiment: Experiment
    run: RunFolder
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.run.path.with_suffix(".log")

    @property
    def config(self) -> Path:
        return self.run.path.with_suffix(".yaml")

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.config, to_yaml(self.experiment).encode())
        command = [sys.executable, "-m", "mbseg", "train", str(self.config), "--output", str(self.run.path), "--resume"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=ending_with_this())

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def failed(self) -> bool:
        return self.process is None or self.process.returncode != 0

    def ask_to_end(self) -> None:
        if self.process:
            self.process.terminate()

    def wait(self) -> None:
        if self.process:
            self.process.wait()

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return last.removeprefix("error: ")

    def steps_done(self) -> int:
        last = deque(self.run.read_metrics(), maxlen=1)
        return int(last[0]["step"]) if last else 0


def jobs_of(rows: Sequence[Row], seeds: Mapping[str, Sequence[int]], folder: Path) -> list[Job]:
    """Of the named rows with these seeds; what several rows share is trained once, below `folder`."""
    jobs: dict[str, Job] = {}
    for row in rows:
        for seed in seeds.get(row.name, ()):
            address = training_address(row.trainings[seed])
            jobs.setdefault(address, Job(row.name, address, row.trainings[seed], RunFolder(folder / address)))
    return list(jobs.values())


def train_all(jobs: Sequence[Job], *, at_once: int, on_finished: Callable[[Job], None]) -> dict[str, str]:
    """Runs the jobs, `at_once` of them side by side; gives the last words of those that failed, by address.

    `on_finished` is called as soon as one has ended well. Whatever ends this process ends the running ones too; they
    go on from their checkpoints when the sweep is started again.
    """
    waiting, running, failed = deque(jobs), list[Job](), dict[str, str]()
    with stopped_at_the_end(running), tqdm(total=len(jobs), unit="training", disable=None, file=sys.stderr) as bar:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(waiting.popleft())
                running[-1].start()
            time.sleep(POLL_SECONDS)
            for job in [job for job in running if not job.is_running()]:
                running.remove(job)
                bar.update()
                if job.failed():
                    failed[job.address] = f"{job.last_words()} ({job.log})"
                else:
                    on_finished(job)
            bar.set_postfix_str(", ".join(f"{job.name}: step {job.steps_done()}" for job in running))
    return failed


@contextmanager
def stopped_at_the_end(running: list[Job]) -> Iterator[None]:
    """No training outlives the sweep, however that ends."""
    try:
        yield
    finally:
        for job in running:
            job.ask_to_end()
        for job in running:  # each saves what it has
            job.wait()
