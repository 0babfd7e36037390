"""OpenVINO leaves the stack of signal handlers as it was: a signal after it does not end the process."""

import ctypes
import signal
import subprocess
import sys

import pytest

from mbseg.runtime.signal_stack import DISABLED, SignalStack, signal_stack, signal_stack_kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO replaces that stack on Linux only")

PREPARED = """
import gc, signal, threading
import numpy as np
from mbseg.runtime.openvino_session import core, quiet_openvino
from mbseg.runtime.signal_stack import signal_stack
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
before = signal_stack()
"""
SIGNALLED = """
gc.collect()
after = signal_stack()
assert (after.address, after.flags) == (before.address, before.flags)
signal.raise_signal(signal.SIGUSR1)
"""
CORES_MADE_AND_DROPPED = """
def drop_both():
    first, second = ours(), ours()
    del first
    gc.collect()
drop_both()
"""


def ended(code: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True)
    return done.returncode, done.stdout.strip()


def test_openvino_itself_leaves_a_freed_stack() -> None:
    """The reason for all this; should it end, `signal_stack` can go."""
    code = (
        f'{PREPARED}\ndef ours():\n    made = quiet_openvino().Core()\n    made.get_property("CPU", "FULL_DEVICE_NAME")'
    )
    code += f"\n    return made\n{CORES_MADE_AND_DROPPED}\nsignal.raise_signal(signal.SIGUSR1)"
    assert ended(code) == (-signal.SIGSEGV, "")


def test_a_signal_after_our_sessions_is_handled() -> None:
    assert ended(f"{PREPARED}\nours = core\n{CORES_MADE_AND_DROPPED}\n{SIGNALLED}") == (0, "handled")


def test_a_core_made_in_a_thread_that_ended_changes_nothing() -> None:
    code = f"{PREPARED}\nthread = threading.Thread(target=core)\nthread.start()\nthread.join()\n{SIGNALLED}"
    assert ended(code) == (0, "handled")


def test_the_stack_comes_back_after_an_error() -> None:
    def disable_and_fail() -> None:
        with signal_stack_kept():
            ctypes.CDLL(None).sigaltstack(ctypes.byref(SignalStack(None, DISABLED, 0)), None)
            assert signal_stack().flags == DISABLED
            raise KeyError

    before = signal_stack()
    with pytest.raises(KeyError):
        disable_and_fail()
    assert (signal_stack().address, signal_stack().bytes) == (before.address, before.bytes)
