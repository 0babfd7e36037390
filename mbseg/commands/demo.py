"""`mbseg demo`."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from statistics import median
from typing import TYPE_CHECKING, Any

from mbseg.commands.train import default_folder
from mbseg.errors import ConfigError
from mbseg.interruption import Interrupted
from mbseg.output import AsJson, Overrides, print_json
from mbseg.runtime.names import Backend, Precision

if TYPE_CHECKING:
    from mbseg.demo import Progress

LOOPBACK = "127.0.0.1"
RECENT = 50  # frames whose stage times the progress bar shows


def demo(
    weights: str,
    /,
    *overrides: Overrides,
    source: str | None = None,
    output: Path | None = None,
    window: bool = False,
    serve: int | None = None,
    host: str = LOOPBACK,
    token: str | None = None,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    longer_side: int | None = None,
    least_score: float | None = None,
    opacity: float = 0.6,
    smooth: float = 0.0,
    live: bool = False,
    frames: int | None = None,
    overwrite: bool = False,
    json: AsJson = False,
) -> None:
    """Show a model's class map or boxes over a video, a folder of pictures, a camera or a stream; measure the speed.

    Reading, network, drawing and writing overlap. Of a file every frame is shown; of a camera or a stream the newest,
    and the others are counted. Ctrl-C ends it and keeps what was written.

    Parameters
    ----------
    weights
        A weights file, which carries its config; a config or run folder, whose best weights are taken; or an exported
        file (.onnx, .xml).
    source
        The number of a camera, a video, a picture, a folder of pictures, or the address of a stream (http, rtsp, udp).
        With --serve, browser (or none): the cameras of those who look at the page.
    output
        A video (.mp4, .webm, .avi), a picture, or a folder for pictures.
    window
        Show it in a window, if OpenCV was built with one; q ends.
    serve
        Show it on a page in the browser, at this port (0: any that is free); the address is printed.
    host
        The address of this machine under which the page is served; 0.0.0.0 lets other machines in.
    token
        What the page's address must contain; drawn at random if not given.
    backend
        What runs the network. auto measures what is installed and takes the fastest, but for compiled (torch.compile),
        which needs half a minute for every size of frames.
    precision
        Of the network's arithmetic; bf16 is faster where the processor has it.
    longer_side
        Resize frames to this many pixels for the network; without it, as the model was evaluated.
    least_score
        Of detection: leave out boxes below it; 0.5 if not given.
    opacity
        Of the class map over the frame, 0 to 1.
    smooth
        Steady pixels and boxes over time: 0 (off) to just below 1; 0.5 removes what shows for a single frame.
    live
        Play a file at its own rate, as a camera would: frames that the network has no time for are dropped.
    frames
        Stop after this many.
    overwrite
        Replace what is at OUTPUT.
    """
    from mbseg.demo import Address, Viewing
    from mbseg.demo import demo as run
    from mbseg.predictors import Loaded, load_predictor

    if serve is None and (host != LOOPBACK or token is not None):
        raise ConfigError("--host and --token are about the page: add --serve PORT, or leave them away")
    address = None if serve is None else Address(serve, host, token)
    viewing = Viewing(output, overwrite=overwrite, window=window, serve=address, opacity=opacity, smooth=smooth)

    def load(frame_size: tuple[int, int]) -> Loaded:
        return load_predictor(
            weights,
            overrides,
            run=default_folder(weights),
            backend=backend,
            precision=precision,
            longer_side=longer_side,
            least_score=least_score,
            frame_size=frame_size,
        )

    with frames_bar() as on_progress:
        result = run(load, source, viewing, frames=frames, live=live, on_address=say_address, on_progress=on_progress)
    if json:
        print_json(result)
    else:
        print(text(result))
    if ending := result["interrupted"]:
        raise Interrupted(Signals[ending])


def say_address(address: str) -> None:
    print(f"serving {address}", file=sys.stderr, flush=True)


@contextmanager
def frames_bar() -> Iterator[Callable[["Progress"], None]]:
    """A bar on stderr with frames a second, the stages' recent times, and drops; nothing where there is no terminal."""
    from tqdm import tqdm

    recent: deque[Any] = deque(maxlen=RECENT)
    with tqdm(disable=None, file=sys.stderr, unit=" frames") as bar:

        def report(progress: "Progress") -> None:
            recent.append(progress.times)
            bar.total = progress.expected
            if bar.update():  # it was drawn just now; this stands there at the next time
                bar.set_postfix_str(stages_text(recent, progress.dropped), refresh=False)

        yield (lambda _progress: None) if bar.disable else report


def stages_text(recent: "deque[Any]", dropped: int) -> str:
    """infer 17.1, draw 0.6 ms ..."""
    medians = {name: median(getattr(times, name) for times in recent) for name in recent[0]._fields}
    stages = ", ".join(f"{name} {value:.1f}" for name, value in medians.items())
    return f"{stages} ms" + (f", {dropped} dropped" if dropped else "")


def text(result: dict[str, Any]) -> str:
    """What a reader wants to know of a run."""
    if not result["frames"]:
        return "no frames"
    if "latency_ms" not in result:
        return f"{result['frames']} frames of visitors' cameras"
    latency, (height, width) = result["latency_ms"], result["network_size"]
    stages = ", ".join(f"{stage} {milliseconds:.1f}" for stage, milliseconds in result["stages_ms"].items())
    dropped = f", {result['dropped']} dropped" if result["dropped"] else ""
    return "\n".join(
        (
            f"frames          {result['frames']}{dropped}",
            f"speed           {result['fps']:.1f} FPS; network at {height} x {width}, {result['backend']}",
            f"latency         p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, until written",
            f"medians         {stages} ms; CPU {result['cpu_ms']:.1f} ms a frame",
            f"written         {result['output'] or 'nothing; --output names a video, a picture or a folder'}",
        )
    )
