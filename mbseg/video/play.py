"""Finished frames into their sink, and what that took."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbseg.video.pipeline import Journey
from mbseg.video.sinks import Sink

REMEMBERED = 10_000  # frames whose times are kept: a camera may run for weeks


class FrameTimes(NamedTuple):
    """Milliseconds that one frame took."""

    decode: float  # of a live source, the wait for it
    infer: float  # from the frame to its class map or boxes: preprocessing, network, and what comes behind it
    draw: float
    write: float
    latency: float  # from the begin of its decoding, of a live frame from its capture, until it was written

    @classmethod
    def of(cls, journey: Journey) -> "FrameTimes":
        took = journey.milliseconds
        latency = 1000 * (perf_counter() - journey.began)
        return cls(took["decode"], took["infer"], took["draw"], took["write"], latency)


STAGES = FrameTimes._fields[:-1]
OnFrame = Callable[[FrameTimes], None]


@dataclass
class Run:
    """How far a stream has been played, and what it has taken."""

    frames: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all threads
    times: deque[FrameTimes] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.frames else 0.0

    @property
    def cpu_ms(self) -> float:
        """A frame."""
        return 1000 * self.cpu_seconds / max(1, self.frames)

    def stages_ms(self) -> dict[str, float]:
        """The medians."""
        return dict(zip(STAGES, np.median(self._table()[:, :-1], axis=0).tolist(), strict=True))

    def latency_ms(self) -> dict[str, float]:
        p50, p95 = np.percentile(self._table()[:, -1], [50, 95]).tolist()
        return {"p50": p50, "p95": p95}

    def _table(self) -> NDArray[np.float64]:
        return np.array(self.times)


def play(journeys: Iterable[Journey], sink: Sink, run: Run, on_frame: OnFrame = lambda _times: None) -> None:
    """Writes every frame as it comes, until they or the sink's patience end, and keeps count of it in `run`."""
    start, cpu_start = perf_counter() - run.seconds, process_time() - run.cpu_seconds
    for journey in journeys:
        with journey.timed("write"):
            sink.write(journey.shown)
        times = FrameTimes.of(journey)
        run.times.append(times)
        run.frames += 1
        run.seconds, run.cpu_seconds = perf_counter() - start, process_time() - cpu_start
        on_frame(times)
        if not sink.wants_more:
            return


def summary(run: Run) -> dict[str, Any]:
    """Frames, frames a second, percentiles of the latency, medians of the stages, CPU time of a frame."""
    if not run.frames:
        return {"frames": 0, "fps": 0.0, "latency_ms": None, "stages_ms": None, "cpu_ms": None}
    return {
        "frames": run.frames,
        "fps": run.fps,
        "latency_ms": run.latency_ms(),
        "stages_ms": run.stages_ms(),
        "cpu_ms": run.cpu_ms,
    }


def bound_fps(alone: Run, cores: int) -> float:
    """The most that stages can do which overlap, by what they took one by one: as fast as the slowest of them, and as
    the cores that all of them share.
    """
    return 1000 / max(max(alone.stages_ms().values()), alone.cpu_ms / cores)


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
