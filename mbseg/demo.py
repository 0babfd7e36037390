"""A model at work on a stream: whatever gives frames, whatever runs the network, whoever looks at it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbseg.boxes.geometry import Size
from mbseg.errors import ConfigError
from mbseg.interruption import Interruption
from mbseg.predictors import Loaded, names
from mbseg.runtime.allocator import keep_freed_memory
from mbseg.video.outputs import make_sink
from mbseg.video.overlay import OPACITY
from mbseg.video.painter import Painter
from mbseg.video.pipeline import Pipeline, Steps, one_by_one
from mbseg.video.play import FrameTimes, Run, play, summary
from mbseg.video.serve.server import LOOPBACK, Server
from mbseg.video.sinks import Nowhere, Sink, Together
from mbseg.video.smoothing import Smoother
from mbseg.video.sources import Frame, Source, as_live, open_source
from mbseg.video.window import Window

TITLE = "mbseg demo"
BROWSER = "browser"  # as a source: the cameras of those who look at the page
VISITORS_SIZE = (480, 640)  # of frames: what the page asks cameras for


class Progress(NamedTuple):
    """How far a stream has come."""

    times: FrameTimes  # of the frame just finished
    done: int
    expected: int | None  # None: nobody knows
    dropped: int


class Address(NamedTuple):
    """Where the live page is served."""

    port: int
    host: str = LOOPBACK
    token: str | None = None  # None: one is drawn


@dataclass(frozen=True)
class Viewing:
    """What is drawn, and where it is to be seen."""

    output: Path | None = None
    overwrite: bool = False
    window: bool = False
    serve: Address | None = None
    opacity: float = OPACITY
    smooth: float = 0.0


def demo(
    load: Callable[[Size], Loaded],
    source: str | None,
    viewing: Viewing,
    *,
    frames: int | None = None,
    live: bool = False,
    on_address: Callable[[str], None],
    on_progress: Callable[[Progress], None],
) -> dict[str, Any]:
    """Shows what a model finds in every frame of `source`; gives frames, FPS, latencies and drops.

    Of a file every frame is shown; of a camera or a stream, or with `live`, the newest, and the others are counted.
    Without a source, the page that is served answers the cameras of its visitors. An interruption ends it like the last
    frame does, and is told in the result. `load` is called with the size of the frames once everything else is found to
    be in order. Raises ConfigError, DataError or RunError for what cannot be used, before anything is written.
    """
    source = None if source == BROWSER else source
    check(source, viewing, frames)
    keep_freed_memory()
    smoother = Smoother(viewing.smooth) if viewing.smooth else None
    with ExitStack() as opened:
        stream = opened.enter_context(open_source(source)) if source is not None else None
        sinks = local_sinks(viewing, stream)
        loaded = load(stream.size if stream else VISITORS_SIZE)
        predictor = loaded.predictor
        if viewing.serve is not None:
            server = make_server(loaded, viewing.serve, viewing.opacity, has_source=stream is not None)
            opened.enter_context(server)
            if stream is None:
                server.predictor(np.zeros((*VISITORS_SIZE, 3), np.uint8))  # to warm up
                return serve_visitors(server, on_address)
            on_address(server.address)
            predictor, sinks = server.predictor, [*sinks, server.sink]
        assert stream is not None
        sink = Together(sinks or [Nowhere()])
        painter = Painter.of(*names(loaded), opacity=viewing.opacity)
        steps = Steps(predictor, painter if sink.draws else None, smoother)
        warm_up(steps, stream.size)
        if live and not stream.live:
            stream = opened.enter_context(as_live(stream))  # its clock begins now
        result = show(stream, sink, steps, frames, on_progress)
    return {**result, "output": str(viewing.output) if viewing.output and result["frames"] else None}


def show(
    source: Source, sink: Sink, steps: Steps, limit: int | None, on_progress: Callable[[Progress], None]
) -> dict[str, Any]:
    """Plays the stream to its end, or until somebody has had enough of it."""
    expected = source.length if limit is None else min(limit, source.length or limit)
    run, frames = Run(), islice(source.frames, limit)
    with Interruption() as interruption, sink, Pipeline(source, frames, steps) as pipeline:
        interruption.ends(pipeline.stop)
        play(pipeline, sink, run, lambda times: on_progress(Progress(times, run.frames, expected, source.dropped)))
    return {
        **summary(run),
        "dropped": source.dropped,
        "network_size": list(steps.predictor.input_size(source.size)),
        "backend": steps.predictor.description,
        "interrupted": interruption.name,
    }


def warm_up(steps: Steps, size: tuple[int, int]) -> None:
    """The first time kernels are compiled, and the second time engines learn that frames of this size come again.

    Blank frames are no past of the stream's, so they have a smoother of their own.
    """
    blank = Frame("", np.zeros((*size, 3), np.uint8))
    for _ in one_by_one(iter([blank] * 2), steps._replace(smooth=Smoother(0) if steps.smooth else None)):
        pass


def serve_visitors(server: Server, on_address: Callable[[str], None]) -> dict[str, Any]:
    """Until an interruption."""
    with Interruption() as interruption:
        on_address(server.address)
        interruption.ends(server.close)
        server.wait()
    return {"frames": server.answered, "interrupted": interruption.name}


def check(source: str | None, viewing: Viewing, frames: int | None) -> None:
    if source == "" or (source is None and viewing.serve is None):
        raise ConfigError(
            "--source is missing: name a camera's number, a file, a folder, a stream's address, or browser with --serve"
        )
    if source is None and (viewing.output or viewing.window):
        raise ConfigError("--output and --window show a --source; name one, or leave them away")
    if not 0 <= viewing.opacity <= 1:
        raise ConfigError(f"--opacity is {viewing.opacity:g}; it lies between 0 and 1, which covers the frame")
    if frames is not None and frames < 1:
        raise ConfigError(f"--frames is {frames}; it must be 1 or more")


def local_sinks(viewing: Viewing, source: Source | None) -> list[Sink]:
    """The file and the window, as far as they are wanted."""
    sinks: list[Sink] = [Window(TITLE)] if viewing.window else []
    if viewing.output is not None and source is not None:
        sinks.append(make_sink(viewing.output, source, overwrite=viewing.overwrite))
    return sinks


def make_server(loaded: Loaded, address: Address, opacity: float, *, has_source: bool) -> Server:
    mask, boxes = names(loaded)
    return Server(
        loaded.predictor,
        mask=mask,
        boxes=boxes,
        title=TITLE,
        has_source=has_source,
        opacity=opacity,
        host=address.host,
        port=address.port,
        token=address.token,
    )
