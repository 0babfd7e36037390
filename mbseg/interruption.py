"""Ctrl-C and SIGTERM as a wish to end in order."""

import signal
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, Self, final

ENDINGS = (signal.SIGINT, signal.SIGTERM)


@final
class Interruption:
    """While it is open, the first Ctrl-C or SIGTERM is only a wish; the second one raises KeyboardInterrupt, as ever.

    In another thread than the main one nothing is changed.
    """

    def __init__(self) -> None:
        self.happened = False
        self._end: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    def ends(self, end: Callable[[], None]) -> None:
        """What to call when it happens, in the main thread, in the midst of whatever that does; at once if it has."""
        self._end = end
        if self.happened:
            end()

    def __enter__(self) -> Self:
        if current_thread() is main_thread():
            self._before = {number: signal.signal(number, self._first) for number in ENDINGS}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _first(self, _number: int, _frame: FrameType | None) -> None:
        for number in ENDINGS:
            signal.signal(number, signal.default_int_handler)
        self.happened = True
        self._end()
