"""Commands of mbseg as processes that start at once, because a server has imported everything, and that die at will."""

import atexit
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn, TypeVar

Outcome = TypeVar("Outcome")

SIDE_BY_SIDE = 2  # processes: the cores of the machines that the figures are of
LONGEST = 120.0  # seconds that a command may take
ORPHANS_END_WITHIN = 5.0  # seconds
BOOKS = Lock()  # multiprocessing's, of who lives: two threads that look at once take one another's exit codes
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(  # a module that is missing here is only imported later, by each process anew
    [
        *("mbseg.cli", "mbseg.training", "mbseg.commands.train", "mbseg.data.transforms", "mbseg.analysis.charts"),
        *("mbseg.models.class_map_kernel", "torch._dynamo", "torch.utils.tensorboard", "matplotlib.pyplot"),
        *("mbseg.commands.predict", "mbseg.prediction.sharding", "mbseg.prediction.merging"),
        *("mbseg.joint", "mbseg.build_joint"),
    ]
)


@dataclass(frozen=True)
class Command:
    """A command line that runs, in a process group of its own; what it says is appended to `log`."""

    process: BaseProcess
    log: Path
    started: float

    @property
    def group(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """To the command alone, as `kill` does; not to its workers."""
        os.kill(self.group, number)

    def ended_within(self, seconds: float) -> bool:
        if not connection.wait([self.process.sentinel], seconds):
            return False
        with BOOKS:
            self.process.join()
        return True

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.started

    @property
    def exit_code(self) -> int:
        """As the shell tells it: 137 for SIGKILL, 143 for SIGTERM. Waits for the end."""
        self.ended_within(LONGEST)
        code = self.process.exitcode
        assert code is not None
        return 128 - code if code < 0 else code

    @property
    def last_words(self) -> str:
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2]


def start(arguments: Sequence[str], log: Path) -> Command:
    """`mbseg ARGUMENTS`, as a process."""
    process = SERVER.Process(target=become, args=(list(arguments), log))
    started = time.monotonic()
    with BOOKS:
        process.start()
    return Command(process, log, started)


def become(arguments: list[str], log: Path) -> NoReturn:
    """What `mbseg` does, in a process that stands for a shell's child: a group of its own, output into a file."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # here it would be the server's way, for workers too
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from mbseg.cli import main

    code = main(arguments)
    atexit._run_exitfuncs()  # as an interpreter does that ends; a process of multiprocessing leaves them out
    sys.exit(code)


def orphans(group: int) -> list[int]:
    """Who is left of a group whose first process has been killed, once they have had the time to end."""
    deadline = time.monotonic() + ORPHANS_END_WITHIN
    while (left := members(group)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def members(group: int) -> list[int]:
    """The living processes of a group; who is dead, but not yet buried, is none of them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := status(entry)) and fields[0] != "Z" and int(fields[2]) == group:
            found.append(int(entry.name))
    return found


def status(entry: Path) -> list[str]:
    """State, parent and group of a process, proc(5); nothing of one that has ended meanwhile."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def repeated(work: Callable[[int], Outcome], enough: Callable[[list[Outcome]], bool]) -> list[Outcome]:
    """The outcomes of `work(0)`, `work(1)`, ... side by side, until there are enough."""
    numbers = itertools.count()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        pending: set[Future[Any]] = {pool.submit(work, next(numbers)) for _ in range(SIDE_BY_SIDE)}
        while not enough(outcomes):
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            outcomes += [future.result() for future in done]
            pending |= {pool.submit(work, next(numbers)) for _ in done}
        return outcomes + [future.result() for future in pending]
