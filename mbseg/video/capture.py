"""What OpenCV has opened: a video file, a camera, a stream."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from threading import Lock
from time import perf_counter
from typing import Any, final

from mbseg.video.frames import Frame, Source, UInt8Array, sensible_fps, sensible_length
from mbseg.video.opencv import quiet_cv2

MOST_FAILURES = 30  # failed reads in a row that are the end; fewer are broken frames


@final
class Capture:
    """A video, a camera or a stream as OpenCV reads it; any thread may close it.

    What a phone filmed on its side is turned upright. Where the size changes in mid-stream, OpenCV brings all later
    frames to the first one's.
    """

    def __init__(self, target: str | int, parameters: Sequence[int] = ()) -> None:
        cv2 = quiet_cv2()
        backend = cv2.CAP_ANY if isinstance(target, int) else cv2.CAP_FFMPEG
        self._capture: Any = cv2.VideoCapture(target, backend, list(parameters))
        self._alone = Lock()  # OpenCV crashes when it is released in the middle of a read
        self.closed = False
        self.fps = sensible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        self.length = sensible_length(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def read(self) -> UInt8Array | None:
        """The next frame [H, W, 3] BGR; None for a broken one, at the end, and once it is closed."""
        with self._alone:
            read, pixels = self._capture.read()
        return pixels if read else None

    def close(self) -> None:
        """Waits for a read that has begun."""
        self.closed = True
        with self._alone:
            self._capture.release()


def read_first(capture: Capture, numbers: Iterator[int], *, failing_seconds: float = math.inf) -> Source | None:
    """What there is to read, named by `numbers`; None, and closed, if there is not a single frame."""
    frames = captured(capture, numbers, failing_seconds)
    first = next(frames, None)
    if first is None:
        capture.close()
        return None
    height, width = first.pixels.shape[:2]
    return Source(chain([first], frames), (height, width), capture.fps, capture.length, (), end=capture.close)


def captured(capture: Capture, numbers: Iterator[int], failing_seconds: float = math.inf) -> Iterator[Frame]:
    """Frames until too many reads in a row have failed, or failed for too long: a time-out is no broken frame."""
    failures, working = 0, perf_counter()
    while failures < MOST_FAILURES and perf_counter() - working < failing_seconds and not capture.closed:
        pixels = capture.read()
        failures += 1
        if pixels is not None:
            yield Frame(f"{next(numbers):06d}.jpg", pixels, perf_counter())
            failures, working = 0, perf_counter()  # behind the yield: whoever takes the frame may take time
