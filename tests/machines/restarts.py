"""Trainings by two processes that are ended and started again; they come to what an unharmed one comes to."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.machines.starting import HERE, Fault, torchrun, two_agents

FAULTY = HERE / "faulty.py"
EVERY_KIND = (Fault(0, 1, 3, "data"), Fault(1, 0, 1, "disk"), Fault(2, 0, 3, "killed"))
KILLED_TWICE = (Fault(0, 1, 3, "killed"), Fault(1, 0, 3, "killed"))
TOLD_TWICE = (Fault(0, 1, 3, "told"), Fault(1, 0, 3, "told"))


def train(config: str, folder: Path, *overrides: str, faults: Sequence[Fault] = ()) -> subprocess.CompletedProcess[str]:
    """What the processes, which go on after every fault, have said; stdout is JSON. The training must end."""
    done = torchrun(FAULTY, "train", config, *overrides, "--output", str(folder), "--resume", "--json", faults=faults)
    assert done.returncode == 0, done.stderr
    return done


def train_on_two_machines(config: str, folders: Sequence[Path], *overrides: str, faults: Sequence[Fault] = ()) -> Path:
    """The run folder, which lies in one of `folders`: what stands for two machines shares no disk."""
    arguments = ["train", config, *overrides, "--output", "run", "--resume"]
    done = two_agents(FAULTY, *arguments, folders=folders, faults=faults)
    assert [each.returncode for each in done] == [0, 0], "\n".join(each.stderr for each in done)
    (run,) = (folder / "run" for folder in folders if (folder / "run").exists())
    return run
