"""Loader workers: what each of them reads just now, and what to say when one dies of it."""

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import RawArray, active_children
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import get_temp_dir
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any
from weakref import WeakSet

import cv2
from torch.utils.data import get_worker_info

from mbseg.errors import DataError
from mbseg.processes import leave_signals_to_parent

NONE = -1  # of the pictures
ADVICE = {
    "SIGKILL": "was memory short? fewer data.workers, smaller batches or smaller pictures need less",
    "SIGBUS": "is /dev/shm full? give it room (docker run --shm-size=2g), or set data.workers=0",
}
Files = Callable[[int], Sequence[Path]]  # of a picture, by its index


class Readings:
    """The process id of each worker and the picture it reads, in memory that all share and that outlives them."""

    def __init__(self, workers: int) -> None:
        self.pids = RawArray("q", workers)
        self.pictures = RawArray("q", [NONE] * workers)

    def begin_worker(self, worker: int) -> None:
        """Workers share the cores: each computes on one thread (torch limits its own)."""
        cv2.setNumThreads(0)
        leave_signals_to_parent()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm sends it to all, and the last step may need a batch
        self.pids[worker] = os.getpid()

    def note(self, picture: int) -> None:
        """What this worker reads from now on; nothing is noted where there are no workers."""
        if (worker := get_worker_info()) is not None:
            self.pictures[worker.id] = picture

    def of(self, pid: int | None) -> int:
        """The picture that a worker reads, or read when it died; or NONE."""
        return next((picture for known, picture in zip(self.pids, self.pictures, strict=True) if known == pid), NONE)


class Watch:
    """Tells of a worker's death where a batch is waited for, and nowhere else.

    torch's own handler raises in the midst of whatever the main thread does, a finaliser too, where what is raised is
    lost; this one takes its place and never raises: it ends the queue of batches, so that reading it does.
    """

    def __init__(self, readings: Readings, files: Files) -> None:
        self.readings = readings
        self.files = files
        self.processes: list[BaseProcess] = []
        self.queue: Any = None  # multiprocessing's, if it is read by the thread that waits
        _watches.add(self)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """The processes that are started meanwhile are watched from then on."""
        if len(self.readings.pids):
            get_temp_dir()  # multiprocessing's: a worker shares it, or else makes its own, which outlives SIGKILL
        before = active_children()
        with self.waiting():
            yield
        self.processes += [child for child in active_children() if child not in before]

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Raises DataError as soon as a worker dies, or if one has died; no worker is left then."""
        self._check()
        try:
            with self._listening():
                yield
        except Exception:  # what comes of a dead worker's tensors is an OSError, or anything
            self._check(patience=1.0)
            raise

    def _check(self, patience: float = 0.0) -> None:
        if (dead := self._dead(patience)) is not None:
            error = self._death(dead)
            self.kill()
            raise error from None

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Without the main thread's signals, torch's look around every five seconds is all there is."""
        if sys.platform == "win32" or current_thread() is not main_thread():
            yield
            return
        before = signal.signal(signal.SIGCHLD, self._hear)
        try:
            self._hear()  # of what died a moment ago
            yield
        finally:
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)

    def _hear(self, *_signal: object) -> None:
        """Where a worker died, reading the queue meets its end from now on, even amid a message."""
        if self.queue is not None and self._dead():
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, self.queue._reader.fileno(), inheritable=False)
            os.close(nothing)

    def _dead(self, patience: float = 0.0) -> BaseProcess | None:
        """The first worker that has ended, or ends in so many seconds."""
        ending = wait([process.sentinel for process in self.processes], patience)
        for process in self.processes:
            if process.sentinel in ending:
                process.join(patience)  # its files are closed a moment before it is dead
        return next((process for process in self.processes if process.exitcode is not None), None)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        self.processes.clear()

    def _death(self, process: BaseProcess) -> DataError:
        picture = self.readings.of(process.pid)
        files = " and ".join(map(str, self.files(picture))) if picture != NONE else ""
        place = f"while it read {files}" if files else "between two pictures"
        cause = _cause(process.exitcode or 0)
        advice = ADVICE.get(cause, "mend or leave out what it read, or see more with data.workers=0")
        return DataError(f"a loader worker died ({cause}) {place}; {advice}")


def _cause(code: int) -> str:
    """Of an exit code, which is negative for a signal."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


_watches: WeakSet[Watch] = WeakSet()


@atexit.register  # before multiprocessing sends them SIGTERM, and waits
def _kill_workers() -> None:
    for watch in list(_watches):
        watch.kill()
