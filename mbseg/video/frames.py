"""What every source of pictures gives, be it a file, a folder, a camera or a stream."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
USUAL_FPS, HIGHEST_FPS = 25.0, 240.0


class Frame(NamedTuple):
    """One picture of a stream."""

    name: str  # of the file that it would be among pictures
    pixels: UInt8Array  # [H, W, 3] BGR
    captured: float = 0.0  # when it was there, in the seconds of time.perf_counter


@dataclass(frozen=True)
class Source:
    """Frames to come, and what is known of them before the first is asked for; a `with` block closes it.

    Of a file every frame comes, in order. A live source does not wait: it gives the newest frame only, and counts those
    that were replaced before anyone asked for them.
    """

    frames: Iterator[Frame]  # for one thread; another may close the source, which ends them
    size: tuple[int, int]  # (height, width) of the first; a later one may have another
    fps: float
    length: int | None  # None: nobody knows
    files: tuple[Path, ...]  # that it reads; none of a camera or a stream
    live: bool = False
    end: Callable[[], None] = lambda: None
    count_dropped: Callable[[], int] = lambda: 0

    @property
    def dropped(self) -> int:
        """Frames so far that were replaced by newer ones before anyone asked."""
        return self.count_dropped()

    def close(self) -> None:
        """Lets go of the file or stream and ends the thread that reads it; no more frames come."""
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def sensible_fps(claimed: float) -> float:
    """Frames a second as the source claims, or the usual ones for nonsense (0, NaN, 90000)."""
    return claimed if 0 < claimed <= HIGHEST_FPS else USUAL_FPS


def sensible_length(claimed: float) -> int | None:
    """The number of frames as the source claims, or None for nonsense (0, NaN; a raw stream's is negative)."""
    return int(claimed) if 0 < claimed < float("inf") else None
