"""The stack a thread's signal handlers run on."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

DISABLED = 2  # SS_DISABLE, sigaltstack(2)


@final
class SignalStack(ctypes.Structure):
    """stack_t of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("bytes", ctypes.c_size_t))


def signal_stack() -> SignalStack:
    """What this thread has now."""
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Gives the thread the stack back that it had before.

    OpenVINO's CPU plugin puts one of its own in place as it is loaded (for Linux's sake, which wants a large one where
    a CPU has AMX), and what it leaves behind when unloaded may have been freed: the next signal, a Ctrl-C, would end
    the process with a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
