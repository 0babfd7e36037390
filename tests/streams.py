"""Streams, networks and sinks of which everything is known."""

from collections.abc import Callable, Iterator
from threading import Event
from time import sleep

import numpy as np
import torch

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.video.frames import Frame, Source
from mbseg.video.sinks import Shown, Sink

SIZE = (6, 8)


def numbered(count: int, size: Size = SIZE) -> Iterator[Frame]:
    """Frames whose pixels are their number, modulo 256."""
    for number in range(count):
        yield Frame(f"{number:06d}.jpg", np.full((*size, 3), number % 256, np.uint8))


def recording(frames: Iterator[Frame], length: int | None = None, end: Callable[[], None] = lambda: None) -> Source:
    return Source(frames, SIZE, 25.0, length, files=(), end=end)


class Reader(FramePredictor):
    """Finds one class in the whole picture: its first pixel's value."""

    description = "reader"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self, image: UInt8Array) -> Answer:
        sleep(self.seconds)
        return Answer(mask=np.full(image.shape[:2], image[0, 0, 0], np.uint8))

    def input_size(self, picture: Size) -> Size:
        return picture


class Memory(Sink):
    """Keeps what it is given, as far as `limit`; each takes `seconds`."""

    def __init__(self, *, limit: int | None = None, seconds: float = 0.0) -> None:
        self.limit = limit
        self.seconds = seconds
        self.shown: list[Shown] = []

    def write(self, shown: Shown) -> None:
        sleep(self.seconds)
        self.shown.append(shown)

    @property
    def wants_more(self) -> bool:
        return self.limit is None or len(self.shown) < self.limit

    @property
    def names(self) -> list[str]:
        return [shown.frame.name for shown in self.shown]


def until(over: Event, frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames, and behind the last one none until it is over, like a camera whose cable was pulled."""
    yield from frames
    assert over.wait(10)


def found(boxes: list[list[float]], labels: list[int]) -> Detections:
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.full((len(labels),), 0.9),
        torch.tensor(labels).long(),
    )
