"""Child processes that end with their parent."""

import ctypes
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
