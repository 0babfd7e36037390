"""Cameras and streams: whatever shows what happens now, and may break off."""

import re
from dataclasses import replace
from itertools import count

from mbseg.errors import DataError
from mbseg.video.capture import Capture, read_first
from mbseg.video.frames import Source
from mbseg.video.opencv import quiet_cv2
from mbseg.video.reconnect import Connect, Patience, Reconnecting
from mbseg.video.videos import to_the_end

DECODERS = 2  # threads: every further one would delay each frame by one
RECORDING_SCHEMES = {"http", "https"}  # by which files come too, and those know their length


def open_camera(index: int, patience: Patience) -> Source:
    """The newest frame of a camera each time. Raises DataError if it gives none."""
    name, numbers = f"camera {index}", count()

    def connect(_seconds: float) -> Source:
        source = read_first(Capture(index), numbers, failing_seconds=patience.read_seconds)
        if source is None:
            raise DataError(f"{name} gives no picture; is it attached, free, and yours to read?")
        return replace(source, length=None, live=True)

    return over_connections(name, connect, patience)


def open_stream(address: str, patience: Patience) -> Source:
    """The newest frame of a stream each time, or every frame of a video that lies at a web address.

    Raises DataError if it gives none.
    """
    name, numbers = masked(address), count()

    def connect(seconds: float) -> Source:
        capture = Capture(address, parameters(seconds, patience.read_seconds))
        source = read_first(capture, numbers, failing_seconds=patience.read_seconds)
        if source is None:
            raise DataError(f"--source {name}: nothing answers there with a video; are address and password right?")
        if source.length is not None and address.partition("://")[0].lower() in RECORDING_SCHEMES:
            return replace(source, frames=to_the_end(source.frames, name, capture))
        return replace(source, length=None, live=True)

    return over_connections(name, connect, patience)


def over_connections(name: str, connect: Connect, patience: Patience) -> Source:
    frames = Reconnecting(name, connect, patience)
    return replace(frames.first(), frames=frames, end=frames.close, count_dropped=lambda: frames.dropped)


def parameters(open_seconds: float, read_seconds: float) -> list[int]:
    """For OpenCV: when it breaks off, and how it decodes."""
    cv2 = quiet_cv2()
    opening = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, max(1, int(1000 * open_seconds))]  # 0 would be for ever
    reading = [cv2.CAP_PROP_READ_TIMEOUT_MSEC, max(1, int(1000 * read_seconds))]
    return [*opening, *reading, cv2.CAP_PROP_N_THREADS, DECODERS]


def masked(address: str) -> str:
    """The address without user, password and query, for messages: cameras take passwords in all three."""
    return re.sub(r"\?.*", "?***", re.sub(r"://.+@", "://***@", address))
