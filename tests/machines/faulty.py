"""`mbseg` with the faults that the variable FAULTS plans for it; started by torchrun."""

import errno
import json
import os
import signal
import sys

from torch.optim.optimizer import register_optimizer_step_post_hook

from mbseg.cli import main
from mbseg.errors import DataError
from tests.machines.starting import Fault


class Fate:
    """Counts the steps of this process, and does to it what is planned."""

    def __init__(self, plan: list[Fault]) -> None:
        self.plan = plan
        self.steps = 0

    def step(self, *_optimizer: object) -> None:
        self.steps += 1
        here = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"]), self.steps
        for fault in self.plan:
            if fault[:3] == here:
                befall(fault.kind)


def befall(kind: str) -> None:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "told":
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "data":
        raise DataError("drawn.jpg is damaged")
    if kind == "disk":
        os.fsync = full_disk  # type: ignore[assignment]


def full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


if __name__ == "__main__":
    register_optimizer_step_post_hook(Fate([Fault(*each) for each in json.loads(os.environ["FAULTS"])]).step)
    sys.exit(main())
