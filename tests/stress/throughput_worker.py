"""Trains blocks of steps on request; which engine it is, PYTHONPATH says. Started by `throughput.py`.

A line on stdin, [threads, folder of the run]; a line on stdout, [seconds of the whole training, seconds of its steps].
"""

import json
import sys
import time
from pathlib import Path

import mbseg
from mbseg.config.load import load_experiment
from mbseg.engine.run_folder import RunFolder
from mbseg.training import train


def block(overrides: list[str], threads: int, folder: Path) -> tuple[float, float]:
    """A training from its start to its result; its steps are those between the lines of metrics.jsonl."""
    experiment = load_experiment("quickstart", [*overrides, f"threads={threads}"])
    started = time.monotonic()
    train(experiment, RunFolder(folder), resume=False)
    seconds = time.monotonic() - started
    return seconds, sum(experiment.train.log_every * experiment.train.batch_size / speed for speed in speeds(folder))


def speeds(folder: Path) -> list[float]:
    """Pictures per second; the first lines are of a loader that starts and caches that are cold."""
    lines = [line for line in RunFolder(folder).read_metrics() if line["part"] == "train"]
    return [line["pictures_per_second"] for line in lines[1:]]


if __name__ == "__main__":
    print(json.dumps(mbseg.__file__), flush=True)
    for request in sys.stdin:
        threads, folder = json.loads(request)
        print(json.dumps(block(sys.argv[1:], threads, Path(folder))), flush=True)
