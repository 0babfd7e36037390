"""A model at work on a stream: read a frame, find what is in it, draw that over it, write it; one after the other."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from mbseg.errors import ConfigError
from mbseg.painters import Found, Painter, load_painter
from mbseg.video.sinks import Sink, make_sink
from mbseg.video.sources import Frame, Source, open_source

Progress = Callable[[str, int, int | None], None]


class FrameTimes(NamedTuple):
    """Milliseconds that one frame took, stage by stage."""

    decode: float
    infer: float  # from the frame to its class map or boxes: preprocessing, network, and what comes behind it
    draw: float
    write: float


def demo(
    target: str,
    overrides: Sequence[str],
    *,
    run: Path,
    source: str,
    output: Path | None,
    longer_side: int | None = None,
    least_score: float | None = None,
    frames: int | None = None,
    overwrite: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Draws what is found in every frame of `source` over it, into `output`; gives frames, FPS and latencies.

    That is a class map, or boxes whose score is at least `least_score` (None: 0.5), as the model's task is. An
    interruption ends it like the last frame does, and is told in the result. Raises ConfigError, DataError,
    WeightsError or RunError for what cannot be used, before anything is written.
    """
    if frames is not None and frames < 1:
        raise ConfigError(f"--frames is {frames}; it must be 1 or more")
    painter = load_painter(target, overrides, run=run, longer_side=longer_side, least_score=least_score)
    stream = open_source(source)
    sink = make_sink(output, stream, overwrite=overwrite)
    painter.infer(np.zeros((*stream.size, 3), np.uint8))  # to warm up
    with sink:
        times, seconds, interrupted = play(stream, painter, sink, frames, progress)
    return {
        **summary(times, seconds),
        "network_size": list(painter.input_size(stream.size)),
        "device": str(painter.device),
        "threads": torch.get_num_threads(),
        "output": str(output) if output and times else None,
        "interrupted": interrupted,
    }


def play(
    source: Source, painter: Painter[Any], sink: Sink, limit: int | None, progress: Progress
) -> tuple[list[FrameTimes], float, bool]:
    """The times of all frames, the seconds they took together, and whether Ctrl-C ended it."""
    expected = source.length if limit is None else min(limit, source.length or limit)
    times: list[FrameTimes] = []
    interrupted = False
    start = asked = perf_counter()
    try:
        for frame in islice(source.frames, limit):
            times.append(handle(frame, painter, sink, asked))
            progress("frames", len(times), expected)
            asked = perf_counter()
    except KeyboardInterrupt:
        interrupted = True
    return times, perf_counter() - start, interrupted


def handle(frame: Frame, painter: Painter[Found], sink: Sink, asked: float) -> FrameTimes:
    """From a frame that was asked for at `asked` to a frame that is written."""
    decoded = perf_counter()
    found = painter.infer(frame.pixels)
    inferred = perf_counter()
    drawn = painter.draw(frame.pixels, found)
    painted = perf_counter()
    sink.write(Frame(frame.name, drawn))
    moments = np.diff([asked, decoded, inferred, painted, perf_counter()])
    return FrameTimes(*(1000 * moments).tolist())


def summary(times: Sequence[FrameTimes], seconds: float) -> dict[str, Any]:
    """Frames, frames a second, percentiles of the time from asking for a frame to having it written, stage medians."""
    if not times:
        return {"frames": 0, "fps": 0.0, "latency_ms": None, "stages_ms": None}
    table = np.array(times)
    p50, p95 = np.percentile(table.sum(1), [50, 95]).tolist()
    stages = dict(zip(FrameTimes._fields, np.median(table, 0).tolist(), strict=True))
    return {
        "frames": len(times),
        "fps": len(times) / seconds,
        "latency_ms": {"p50": p50, "p95": p95},
        "stages_ms": stages,
    }
