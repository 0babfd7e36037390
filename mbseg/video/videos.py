"""Videos: every frame, in order."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from mbseg.errors import DataError
from mbseg.video.capture import Capture, read_first
from mbseg.video.frames import Frame, Source

logger = logging.getLogger(__name__)


def open_video(path: Path) -> Source:
    """Raises DataError if no frame of it can be read."""
    capture = Capture(str(path))
    source = read_first(capture, count())
    if source is None:
        raise DataError(f"--source {path}: no frame of it can be read as a video")
    return replace(source, frames=to_the_end(source.frames, str(path), capture), files=(path,))


def to_the_end(frames: Iterator[Frame], name: str, capture: Capture) -> Iterator[Frame]:
    """The same frames; says at the end how many of those that the video promises were missing."""
    number, length = 0, capture.length
    for frame in frames:
        yield frame
        number += 1
    if length is not None and number < length - 1 and not capture.closed:  # without an index the length is an estimate
        logger.warning("%s: %d of %d frames cannot be read; it is damaged or cut short", name, length - number, length)
    capture.close()
