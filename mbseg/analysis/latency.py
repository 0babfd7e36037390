"""How long a network takes here, measured so that the figures can be compared."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mbseg.boxes.detections import Detections
from mbseg.boxes.postprocess import postprocess
from mbseg.errors import ConfigError
from mbseg.models.class_map import class_map
from mbseg.models.detection import DetectionModel
from mbseg.models.segmentation import SegmentationModel

BACKEND = "torch eager channels_last float32"
WARM_UP_ROUNDS = 3
FEWEST_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """What `runs` runs of one kind took, in milliseconds a batch."""

    median_ms: float
    p95_ms: float
    runs: int


@dataclass(frozen=True)
class Latency:
    """Several ways to end, each measured from the images on, and what the figures hold for.

    The columns of a segmenter: "net", logits at the head's own stride; "upsampling_argmax", the class map done plainly,
    bilinear upsampling of all logits and then the arg-max; "class_map", the same classes from `class_map`. Those of a
    detector: "net", raw detections; "boxes", decoded and past the non-maximum suppression. It has the more to do the
    more scores pass the threshold, and of a network that was never trained nearly all do.
    """

    columns: Mapping[str, Timing]
    image_size: tuple[int, int]  # (height, width)
    batch: int
    threads: int
    device: str
    backend: str


def measure_latency(
    model: SegmentationModel | DetectionModel,
    image_size: tuple[int, int],
    *,
    device: str | torch.device = "cpu",
    batch: int = 1,
    threads: int | None = None,
    seconds: float = 3.0,
) -> Latency:
    """Times a copy of `model` on random images [batch, 3, height, width] for about `seconds` after a warm-up.

    The columns take turns, so that a change of the machine's load meets all of them. `threads` are torch's, None leaves
    them as they are. Raises ConfigError for a batch or a number of threads below 1.
    """
    check_counts(batch, threads)
    images = torch.randn(batch, 3, *image_size, device=device).to(memory_format=torch.channels_last)
    net = copy.deepcopy(model).eval().to(device).to(memory_format=torch.channels_last)
    with torch_threads(threads) as used_threads, torch.inference_mode():
        columns = detector_endings(net, images) if isinstance(net, DetectionModel) else segmenter_endings(net, images)
        timings = {name: summarize(times) for name, times in take_turns(columns, images.device, seconds).items()}
    return Latency(
        columns=timings,
        image_size=image_size,
        batch=batch,
        threads=used_threads,
        device=str(images.device),
        backend=BACKEND,
    )


def segmenter_endings(net: SegmentationModel, images: Tensor) -> dict[str, Callable[[], object]]:
    """The columns of `Latency` as calls."""
    height, width = images.shape[-2:]

    def upsampling_argmax() -> Tensor:
        logits = functional.interpolate(
            net(images), size=(height, width), mode="bilinear", align_corners=net.align_corners
        )
        return logits.argmax(dim=1)

    def fused() -> Tensor:
        return class_map(net(images), size=(height, width), align_corners=net.align_corners)

    return {"net": lambda: net(images), "upsampling_argmax": upsampling_argmax, "class_map": fused}


def detector_endings(net: DetectionModel, images: Tensor) -> dict[str, Callable[[], object]]:
    """The columns of `Latency` as calls; the boxes are those of `Selection` as it is by default."""
    batch, size = len(images), (images.shape[-2], images.shape[-1])

    def boxes() -> list[Detections]:
        default_boxes = net.default_boxes(size)
        return postprocess(net(images), default_boxes, image_size=size, picture_sizes=[size] * batch, scores=net.scores)

    return {"net": lambda: net(images), "boxes": boxes}


def take_turns(
    columns: Mapping[str, Callable[[], object]], device: torch.device, seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of every run, column by column; one run of each makes a round."""
    for _ in range(WARM_UP_ROUNDS):
        for run in columns.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in columns}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        for name, run in columns.items():
            times[name].append(time_ms(run, device))
        rounds += 1
    return times


def time_ms(run: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return 1000 * (time.perf_counter() - start)


def synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def summarize(times: list[float]) -> Timing:
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return Timing(median_ms=statistics.median(times), p95_ms=p95, runs=len(times))


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Lets torch use `threads` threads for a while; gives the number in use."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def check_counts(batch: int, threads: int | None) -> None:
    if batch < 1:
        raise ConfigError(f"batch is {batch}; it must be 1 or more")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; give 1 or more, or nothing to keep torch's own number")
