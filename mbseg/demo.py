"""A model at work on a stream: read a frame, find its classes, draw them over it, write it; one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from mbseg import build
from mbseg.engine.device import pick_device, use_threads
from mbseg.errors import ConfigError
from mbseg.models.prediction import Predictor
from mbseg.nn.fuse import fused
from mbseg.targets import read_target
from mbseg.video.opencv import quiet_cv2
from mbseg.video.overlay import overlay
from mbseg.video.sinks import Sink, make_sink
from mbseg.video.sources import Frame, Source, UInt8Array, open_source
from mbseg.weights.report import load_state

SMALLEST_SIDE = 32  # of frames resized: one cell of the coarsest map
Progress = Callable[[str, int, int | None], None]


class FrameTimes(NamedTuple):
    """Milliseconds that one frame took, stage by stage."""

    decode: float
    infer: float  # from the frame to its class map: preprocessing, network, upsampling, arg-max
    draw: float
    write: float


@dataclass(frozen=True)
class Segmenter:
    """A model on frames [H, W, 3] BGR."""

    predictor: Predictor
    device: torch.device
    palette: Sequence[tuple[int, int, int]]  # RGB

    def class_map(self, pixels: UInt8Array) -> UInt8Array:
        cv2 = quiet_cv2()
        image = torch.from_numpy(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)).to(self.device)
        mask: UInt8Array = self.predictor(image.permute(2, 0, 1)[None])[0].cpu().numpy()
        return mask

    def draw(self, pixels: UInt8Array, mask: UInt8Array) -> UInt8Array:
        return overlay(pixels, mask, [(blue, green, red) for red, green, blue in self.palette])


def demo(
    target: str,
    overrides: Sequence[str],
    *,
    run: Path,
    source: str,
    output: Path | None,
    longer_side: int | None = None,
    frames: int | None = None,
    overwrite: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Draws the class map of every frame of `source` over it, into `output`; gives frames, FPS and latencies.

    An interruption ends it like the last frame does, and is told in the result. Raises ConfigError, DataError,
    WeightsError or RunError for what cannot be used, before anything is written.
    """
    if frames is not None and frames < 1:
        raise ConfigError(f"--frames is {frames}; it must be 1 or more")
    segmenter = load_segmenter(target, [*overrides, *resizing(longer_side)], run=run)
    stream = open_source(source)
    sink = make_sink(output, stream, overwrite=overwrite)
    segmenter.class_map(np.zeros((*stream.size, 3), np.uint8))  # to warm up
    with sink:
        times, seconds, interrupted = play(stream, segmenter, sink, frames, progress)
    return {
        **summary(times, seconds),
        "network_size": list(segmenter.predictor.input_size(stream.size)),
        "device": str(segmenter.device),
        "threads": torch.get_num_threads(),
        "output": str(output) if output and times else None,
        "interrupted": interrupted,
    }


def resizing(longer_side: int | None) -> list[str]:
    """Frames resized, instead of padded as in the protocol that the weights carry. Raises ConfigError."""
    if longer_side is None:
        return []
    if longer_side < SMALLEST_SIDE:
        raise ConfigError(f"--longer-side is {longer_side}; it must be {SMALLEST_SIDE} or more")
    return [f"evaluate.resize_longer_side={longer_side}", "evaluate.pad_to=null"]


def load_segmenter(target: str, overrides: Sequence[str], *, run: Path) -> Segmenter:
    """The network of a weights file, run folder or config, fused for use."""
    experiment, state, origin = read_target(target, overrides, weights=None, run=run)
    device = pick_device(experiment.device)
    use_threads(experiment.threads)
    task = build.segmentation_task(experiment, weights=False)
    load_state(task.model, state, origin=origin)
    model = fused(task.model).to(device).to(memory_format=torch.channels_last)
    return Segmenter(
        Predictor(model, task.normalize.to(device), build.protocol(experiment)),
        device,
        build.labels(experiment.data).palette,
    )


def play(
    source: Source, segmenter: Segmenter, sink: Sink, limit: int | None, progress: Progress
) -> tuple[list[FrameTimes], float, bool]:
    """The times of all frames, the seconds they took together, and whether Ctrl-C ended it."""
    expected = source.length if limit is None else min(limit, source.length or limit)
    times: list[FrameTimes] = []
    interrupted = False
    start = asked = perf_counter()
    try:
        for frame in islice(source.frames, limit):
            times.append(handle(frame, segmenter, sink, asked))
            progress("frames", len(times), expected)
            asked = perf_counter()
    except KeyboardInterrupt:
        interrupted = True
    return times, perf_counter() - start, interrupted


def handle(frame: Frame, segmenter: Segmenter, sink: Sink, asked: float) -> FrameTimes:
    """From a frame that was asked for at `asked` to a frame that is written."""
    decoded = perf_counter()
    mask = segmenter.class_map(frame.pixels)
    inferred = perf_counter()
    drawn = segmenter.draw(frame.pixels, mask)
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
