"""From frames to finished frames: decode, infer and draw, one after the other or each ahead of the next in a thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from mbseg.runtime.answers import Answer, FramePredictor
from mbseg.video.frames import Frame, Source
from mbseg.video.opencv import quiet_cv2
from mbseg.video.sinks import Shown
from mbseg.video.stages import Stage

UInt8Array = NDArray[np.uint8]
DECODED_AHEAD = 4  # frames of a file
FINISHED_AHEAD = 2  # behind the network; one of a live source, so that what is shown is new


@dataclass
class Journey:
    """A frame on its way; of one thread at a time."""

    frame: Frame
    began: float  # perf_counter seconds: when a live frame was captured, when another's decoding began
    milliseconds: dict[str, float] = field(default_factory=dict)  # by stage
    answer: Answer = field(default_factory=Answer)
    drawn: UInt8Array | None = None

    @property
    def shown(self) -> Shown:
        return Shown(self.frame, self.answer, self.drawn)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.milliseconds[stage] = 1000 * (perf_counter() - start)


class Steps(NamedTuple):
    """What is done with a frame."""

    predictor: FramePredictor
    paint: Callable[[UInt8Array, Answer], UInt8Array] | None  # (frame BGR, answer) -> drawn; None: nobody looks at it
    smooth: Callable[[UInt8Array, Answer], Answer] | None = None  # the answer, steadied by those before

    def infer(self, journeys: Iterator[Journey]) -> Iterator[Journey]:
        """Finds what is in each frame: preprocessing, network, and what comes behind it."""
        cv2 = quiet_cv2()
        for journey in journeys:
            with journey.timed("infer"):
                journey.answer = self.predictor(cv2.cvtColor(journey.frame.pixels, cv2.COLOR_BGR2RGB))
            yield journey

    def draw(self, journeys: Iterator[Journey]) -> Iterator[Journey]:
        """Steadies the answers and draws them."""
        for journey in journeys:
            with journey.timed("draw"):
                if self.smooth:
                    journey.answer = self.smooth(journey.frame.pixels, journey.answer)
                if self.paint:
                    journey.drawn = self.paint(journey.frame.pixels, journey.answer)
            yield journey


def decode(frames: Iterator[Frame], *, live: bool) -> Iterator[Journey]:
    """The frames as they are asked for; of a live source, "decode" is the wait for the newest."""
    while True:
        start = perf_counter()
        if (frame := next(frames, None)) is None:
            return
        yield Journey(frame, frame.captured if live else start, {"decode": 1000 * (perf_counter() - start)})


def one_by_one(frames: Iterator[Frame], steps: Steps) -> Iterator[Journey]:
    """All in the thread that asks."""
    return steps.draw(steps.infer(decode(frames, live=False)))


@final
class Pipeline:
    """Each step in a thread of its own, while its `with` block lasts; whoever iterates gets the finished frames.

    Of a file every frame comes, in order. Of a live source nothing waits before the network, which is handed the newest
    frame when it is ready for it and there is room behind it. The first error, in the order of the frames, is raised
    where they are taken. A pipeline that is left lets go of its source and waits for its threads.
    """

    def __init__(self, source: Source, frames: Iterator[Frame], steps: Steps) -> None:
        self.source = source
        self._stages: list[Stage[Journey]] = []
        decoded = decode(frames, live=source.live)
        if not source.live:
            decoded = self._ahead("decode", decoded, DECODED_AHEAD)
        finished_ahead = 1 if source.live else FINISHED_AHEAD
        inferred = self._ahead("infer", steps.infer(decoded), finished_ahead)
        self._drawn = self._ahead("draw", steps.draw(inferred), finished_ahead)

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[Journey]:
        return self._drawn

    def stop(self) -> None:
        """What is drawn can still be had, and then it ends. Signal handlers and other threads may call it."""
        for stage in self._stages:
            stage.stop()

    def __exit__(self, kind: type[BaseException] | None, /, *_error: object) -> None:
        self.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):  # somebody wants to leave at once
            return
        self.source.close()
        for stage in self._stages:
            stage.join()

    def _ahead(self, name: str, journeys: Iterator[Journey], count: int) -> Iterator[Journey]:
        stage = Stage(name, journeys, ahead=count)
        self._stages.append(stage)
        return iter(stage)
