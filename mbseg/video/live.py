"""Frames that do not wait for anyone: a thread takes them as they come and keeps the newest."""

import atexit
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Condition, Event, Thread, current_thread
from threading import enumerate as all_threads
from time import perf_counter
from typing import final

from mbseg.errors import MbsegError
from mbseg.video.frames import Frame, Source

CLOSING_SECONDS = 3.0  # that closing waits for a read that blocks, before it leaves the thread to itself
EXIT_SECONDS = 10.0  # that Python waits for it at the very end


@final
class Feed(Thread):
    """One connection, read in a thread of its own; of a live source the newest frame is kept, of a recording each.

    Nobody can end a read that blocks. So a feed is dismissed: it closes its source once the read returns.
    """

    def __init__(self, connect: Callable[[], Source]) -> None:
        """`connect` opens the source, in the thread; it may block, and raise MbsegError."""
        super().__init__(name="frames", daemon=True)
        self.connect = connect
        self.source: Source | None = None
        self.error: Exception | None = None  # that ended it
        self.dropped = 0
        self._changed = Condition()  # guards what stands below
        self._newest: Frame | None = None
        self._asked = False
        self._ended = False
        self._dismissed = False
        self.start()

    def run(self) -> None:
        try:
            with self.connect() as source:
                self._begin(source)
                for frame in source.frames:
                    if not self._put(frame, wait=not source.live):
                        break
        except Exception as error:  # for the thread that asks for frames
            self.error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _begin(self, source: Source) -> None:
        with self._changed:
            self.source = source
            self._changed.notify_all()

    def _put(self, frame: Frame, *, wait: bool) -> bool:
        """Whether more frames are wanted."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._newest is None or self._dismissed)
            if self._dismissed:
                return False
            if self._newest is not None and self._asked:  # nobody misses what came while a network warmed up
                self.dropped += 1
            self._newest = frame
            self._changed.notify_all()
            return True

    def connected(self, seconds: float) -> Source | None:
        """The source, once it is open; None if that fails or takes longer."""
        with self._changed:
            self._changed.wait_for(lambda: self.source or self._ended, seconds)
            return self.source

    def take(self, seconds: float | None = None) -> Frame | None:
        """The newest frame, if need be waited for; None at the end, and if none comes in so many seconds.

        Raises what ended it, unless that is an MbsegError.
        """
        with self._changed:
            self._asked = True
            self._changed.wait_for(lambda: self._newest or self._ended or self._dismissed, seconds)
            frame, self._newest = self._newest, None
            self._changed.notify_all()
        if frame is None and self.error and not isinstance(self.error, MbsegError):
            raise self.error
        return frame

    def dismiss(self) -> None:
        """No more frames come; does not wait."""
        with self._changed:
            self._dismissed = True
            self._newest = None
            self._changed.notify_all()

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Dismisses it and waits for its thread, so long at most."""
        self.dismiss()
        if self is not current_thread():
            self.join(seconds)


@atexit.register
def wait_for_blocked_reads() -> None:
    """OpenCV aborts the process if a read of its returns while Python shuts down."""
    end = perf_counter() + EXIT_SECONDS
    for feed in [thread for thread in all_threads() if isinstance(thread, Feed)]:
        feed.close(max(0.0, end - perf_counter()))


def as_live(source: Source, fps: float | None = None) -> Source:
    """The same frames played at so many a second (None: at their own rate), whether anyone asks for them or not."""
    rate, over = fps or source.fps, Event()
    feed = Feed(lambda: replace(source, frames=paced(source.frames, rate, over), live=True))

    def end() -> None:
        over.set()
        feed.close()

    frames = iter(feed.take, None)
    return replace(source, frames=frames, fps=rate, length=None, live=True, end=end, count_dropped=lambda: feed.dropped)


def paced(frames: Iterator[Frame], fps: float, over: Event) -> Iterator[Frame]:
    """Each frame at its time, until it is over."""
    start = perf_counter()
    for number, frame in enumerate(frames):
        if over.wait(max(0.0, start + number / fps - perf_counter())):
            return
        yield frame._replace(captured=perf_counter())
