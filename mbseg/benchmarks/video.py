"""A video from decoding to drawn frames: the stages overlapped, one after the other, and the most that is possible."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any

from mbseg.boxes.geometry import Size
from mbseg.demo import warm_up
from mbseg.errors import ConfigError
from mbseg.predictors import Loaded, names
from mbseg.runtime.allocator import keep_freed_memory
from mbseg.video.painter import Painter
from mbseg.video.pipeline import Pipeline, Steps, one_by_one
from mbseg.video.play import Run, bound_fps, play, summary, usable_cores
from mbseg.video.sinks import Nowhere
from mbseg.video.sources import Source, open_source
from mbseg.video.streams import masked

FEWEST_TURNS = 2  # of each


@dataclass(frozen=True)
class VideoSpeed:
    """Both ways took turns in one run; what limits them is what stages and cores take when nothing overlaps."""

    title: str
    alone: Run
    overlapped: Run
    turns: int
    cores: int

    @property
    def bound_fps(self) -> float:
        return bound_fps(self.alone, self.cores)

    @property
    def of_bound(self) -> float:
        return self.overlapped.fps / self.bound_fps

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "turns": self.turns,
            "cores": self.cores,
            "overlapped": summary(self.overlapped),
            "one_by_one": summary(self.alone),
            "bound_fps": self.bound_fps,
            "of_bound": self.of_bound,
        }

    def text(self) -> str:
        stages = ", ".join(f"{name} {median:.1f}" for name, median in self.alone.stages_ms().items())
        return "\n".join(
            (
                f"{self.title} ({self.turns} turns)",
                f"  overlapped           {self.overlapped.fps:8.2f} FPS, {self.of_bound:.2f} of the bound",
                f"  one after the other  {self.alone.fps:8.2f} FPS: {stages} ms; {self.alone.cpu_ms:.1f} ms of CPU",
                f"  bound                {self.bound_fps:8.2f} FPS: the slowest stage, or {self.cores} cores at work",
            )
        )


def video_speed(load: Callable[[Size], Loaded], source: str, *, seconds: float) -> VideoSpeed:
    """Plays a video or a folder of pictures again and again for about `seconds`, one way and the other in turn.

    `load` is called with the size of the frames. Raises ConfigError for a source that does not end, DataError for one
    that cannot be read.
    """
    keep_freed_memory()  # as the demo does
    with recording(source) as first:
        height, width = size = first.size
    loaded = load(size)
    steps = Steps(loaded.predictor, Painter.of(*names(loaded)))
    warm_up(steps, size)
    alone, overlapped = Run(), Run()
    deadline = perf_counter() + seconds
    for turn in count(1):
        play_alone(recording(source), steps, alone)
        stream = recording(source)
        with Pipeline(stream, stream.frames, steps) as pipeline:
            play(pipeline, Nowhere(), overlapped)
        if turn >= FEWEST_TURNS and perf_counter() > deadline:
            break
    frames = alone.frames // turn
    title = (
        f"{masked(source)}, {frames} frames of {height} x {width}, drawn, not written; {loaded.predictor.description}"
    )
    return VideoSpeed(title, alone, overlapped, turn, usable_cores())


def play_alone(source: Source, steps: Steps, run: Run) -> None:
    """In a thread of its own, as the network has in a pipeline: in the main thread torch was seen to take half as much
    CPU time again, which would make the bound too easy to reach.
    """
    with ThreadPoolExecutor(1) as thread, source:  # closed first, also when it is interrupted
        thread.submit(play, one_by_one(source.frames, steps), Nowhere(), run).result()


def recording(text: str) -> Source:
    source = open_source(text)
    if source.live:
        source.close()
        raise ConfigError(
            f"--source {masked(text)}: only what has an end can be played twice; name a video or a folder"
        )
    return source
