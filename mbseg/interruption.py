"""Ctrl-C, SIGTERM and a terminal that is closed, as a wish to end in order."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from threading import current_thread, main_thread
from time import monotonic, sleep
from types import FrameType
from typing import Any, Self, final

ECHO = 0.5  # seconds: a wrapper and the terminal often send the same Ctrl-C, one after the other


class Interrupted(KeyboardInterrupt):
    """A signal has ended the work; as an exit code, 128 and its number."""

    def __init__(self, number: int, said: str = "interrupted") -> None:
        super().__init__(said)
        self.number = number


@final
class Signals:
    """Tells those that are meant from their echoes."""

    def __init__(self) -> None:
        self._meant_at = -inf  # monotonic seconds: the last one that was no echo

    def is_echo(self) -> bool:
        """Of the signal that has come just now."""
        now = monotonic()
        if now - self._meant_at < ECHO:
            return True
        self._meant_at = now
        return False

    def fade(self) -> None:
        """Waits for the echo, which is not for those behind."""
        sleep(max(0.0, self._meant_at + ECHO - monotonic()))


@final
class Interruption:
    """While it is open, the first signal to end is only a wish; the next but its echo raises Interrupted.

    In another thread than the main one nothing is changed.
    """

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that was the wish
        self._signals = Signals()
        self._end: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    @property
    def happened(self) -> bool:
        return self.number is not None

    @property
    def name(self) -> str | None:
        """SIGTERM"""
        return None if self.number is None else signal.Signals(self.number).name

    def ends(self, end: Callable[[], None]) -> None:
        """What to call when it happens, in the main thread, in the midst of whatever that does; at once if it has."""
        self._end = end
        if self.happened:
            end()

    def __enter__(self) -> Self:
        self._before = handle_endings(self._hear)
        return self

    def __exit__(self, *_error: object) -> None:
        self._signals.fade()
        restore(self._before)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._signals.is_echo():
            return
        if self.happened:
            raise Interrupted(number)
        self.number = number
        self._end()


@contextmanager
def endings_at_once() -> Iterator[None]:
    """Every signal to end raises Interrupted, and its echo nothing."""
    signals = Signals()

    def hear(number: int, _frame: FrameType | None) -> None:
        if not signals.is_echo():
            raise Interrupted(number)

    before = handle_endings(hear)
    try:
        yield
    finally:
        signals.fade()
        restore(before)


def handle_endings(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> dict[int, Any]:
    """What `restore` needs; nothing in another thread than the main one, which gets no signals."""
    if current_thread() is not main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in endings()}


def restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def endings() -> list[int]:
    """Hanging up is one of them, unless nohup has said otherwise."""
    known: list[int] = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        known.append(signal.SIGHUP)
    return known
