"""Child processes that end with their parent."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def ending_with_this() -> Callable[[], None]:
    """For `preexec_fn`: on Linux, whatever kills this process kills the child."""
    return partial(die_with, os.getpid())


def die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this
            os._exit(1)


def leave_signals_to_parent() -> None:
    """In a process of multiprocessing: Ctrl-C and a closed terminal are for its parent to hear, with which it ends."""
    for number in (signal.SIGINT, *([signal.SIGHUP] if sys.platform != "win32" else [])):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler is for itself
    parent = multiprocessing.parent_process()
    if parent is not None and multiprocessing.get_start_method() != "forkserver":  # that server ends with the parent
        die_with(parent.pid or 0)
