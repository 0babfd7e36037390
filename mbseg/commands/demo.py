"""`mbseg demo`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbseg.commands.train import default_folder
from mbseg.output import AsJson, Overrides, print_json


def demo(
    weights: str,
    /,
    *overrides: Overrides,
    source: str,
    output: Path | None = None,
    longer_side: int | None = None,
    least_score: float | None = None,
    frames: int | None = None,
    overwrite: bool = False,
    json: AsJson = False,
) -> None:
    """Draw a model's class map or boxes over a video, a folder of pictures or a camera, and measure the speed.

    Parameters
    ----------
    weights
        A weights file, which carries its config; or a config or run folder, whose best weights are taken.
    source
        The number of a camera, a video, a picture, or a folder of pictures.
    output
        A video (.mp4, .webm, .avi), a picture, or a folder for pictures; without it the speed is measured only.
    longer_side
        Resize frames to this many pixels for the network; without it, as the model was evaluated.
    least_score
        Of detection: leave out boxes below it; 0.5 if not given.
    frames
        Stop after this many.
    overwrite
        Replace what is at OUTPUT.
    """
    from mbseg.demo import demo as run
    from mbseg.output import progress_bar

    with progress_bar() as progress, terminated_like_interrupted():
        result = run(
            weights,
            overrides,
            run=default_folder(weights),
            source=source,
            output=output,
            longer_side=longer_side,
            least_score=least_score,
            frames=frames,
            overwrite=overwrite,
            progress=progress,
        )
    if json:
        print_json(result)
    else:
        print(text(result))
    if result["interrupted"]:
        raise KeyboardInterrupt


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C: what was drawn is kept."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def text(result: dict[str, Any]) -> str:
    """What a reader wants to know of a run."""
    if not result["frames"]:
        return "no frames"
    latency, (height, width) = result["latency_ms"], result["network_size"]
    stages = ", ".join(f"{stage} {milliseconds:.1f}" for stage, milliseconds in result["stages_ms"].items())
    lines = [
        f"frames          {result['frames']}",
        f"speed           {result['fps']:.1f} FPS; network at {height} x {width}, {result['device']}, "
        f"{result['threads']} threads",
        f"latency         p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, from decoding to written",
        f"medians         {stages} ms",
    ]
    lines.append(f"written         {result['output'] or 'nothing; --output names a video, a picture or a folder'}")
    return "\n".join(lines)
