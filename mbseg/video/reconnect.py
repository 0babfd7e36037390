"""A live stream that may break off or freeze: it is connected anew, with growing pauses, until patience is used up."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock
from time import perf_counter
from typing import final

from mbseg.errors import DataError
from mbseg.video.frames import Frame, Source
from mbseg.video.live import CLOSING_SECONDS, Feed

logger = logging.getLogger(__name__)

Connect = Callable[[float], Source]  # in so many seconds, or MbsegError


@dataclass(frozen=True)
class Patience:
    """How long a live stream is waited for, in seconds."""

    open_seconds: float = 5.0  # for a connection
    read_seconds: float = 2.0  # for data of an open one
    watchdog_seconds: float = 3.0  # for a frame, whatever else happens; then the connection is left to itself
    total_seconds: float = 8.0  # from asking for a frame, over all connections, to the end of the stream
    first_pause: float = 0.5  # before the first new connection; before each further one twice as long ...
    longest_pause: float = 4.0  # ... up to this

    def pauses(self) -> Iterator[float]:
        pause = self.first_pause
        while True:
            yield pause
            pause = min(2 * pause, self.longest_pause)


@final
class Reconnecting(Iterator[Frame]):
    """The newest frame of a stream each time, over as many connections as it takes; any thread may close it."""

    def __init__(self, name: str, connect: Connect, patience: Patience) -> None:
        """The first connection begins at once; `name` stands in messages."""
        self.name = name
        self.connect = connect
        self.patience = patience
        self.feed = Feed(lambda: connect(patience.open_seconds))
        self._running = [self.feed]  # with those before it whose read still blocks
        self._lost = 0  # frames dropped by those before it
        self._over = Event()
        self._changing = Lock()

    @property
    def dropped(self) -> int:
        return self._lost + self.feed.dropped

    def first(self) -> Source:
        """What the first connection found. Raises DataError if it gives no frame."""
        source = self.feed.connected(self.patience.total_seconds)
        if source is None:
            self.feed.dismiss()
            raise self.feed.error or DataError(f"{self.name} does not answer within {self.patience.total_seconds:g} s")
        return source

    def __next__(self) -> Frame:
        asked = perf_counter()
        frame = self.feed.take(self.patience.watchdog_seconds) or self._from_new_connection(asked)
        if frame is None:
            self._over.set()
            self.feed.dismiss()
            raise StopIteration
        return frame

    def _from_new_connection(self, asked: float) -> Frame | None:
        """None when patience is used up, and for what is closed, or a recording at its end."""
        end = asked + self.patience.total_seconds
        for pause in self.patience.pauses():
            if self._is_over() or perf_counter() + pause > end:
                break
            logger.warning("%s: %s; connecting anew in %g s", self.name, self._trouble(asked), pause)
            self.feed.dismiss()
            if self._over.wait(pause):
                break
            seconds = min(self.patience.open_seconds, end - perf_counter())
            if self._replace_feed(seconds) and (frame := self.feed.take(seconds)):
                return frame
        if not self._is_over():
            seconds = perf_counter() - asked
            logger.warning("%s: no frame for %.1f s; it ends here. Is its sender still there?", self.name, seconds)
        return None

    def _is_over(self) -> bool:
        source = self.feed.source
        return self._over.is_set() or (source is not None and not source.live)

    def _trouble(self, asked: float) -> str:
        seconds = perf_counter() - asked
        return "the connection broke off" if seconds < 1 else f"no frame for {seconds:.1f} s"

    def _replace_feed(self, seconds: float) -> bool:
        """By a new connection, to be made in so many seconds; False once the stream is closed."""
        with self._changing:
            if self._over.is_set():
                return False
            self._lost += self.feed.dropped
            self.feed = Feed(lambda: self.connect(seconds))
            self._running = [*(feed for feed in self._running if feed.is_alive()), self.feed]
            return True

    def close(self) -> None:
        """Ends the frames, and waits a moment for the threads that read them."""
        with self._changing:
            self._over.set()
            feeds, self._running = self._running, []
        for feed in feeds:
            feed.dismiss()
        end = perf_counter() + CLOSING_SECONDS
        for feed in feeds:
            feed.close(max(0.0, end - perf_counter()))
