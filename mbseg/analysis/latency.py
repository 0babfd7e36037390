"""How long networks take here, measured so that the figures can be compared."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mbseg.analysis.profile import DETECTORS, check_detector_request, check_request
from mbseg.analysis.timing import Laps, Report, Timing, share_time, summarize, time_ms, timed, torch_threads
from mbseg.boxes.detections import Detections, RawDetections
from mbseg.boxes.postprocess import postprocess
from mbseg.errors import ConfigError
from mbseg.models.class_map import class_map
from mbseg.models.detection import DetectionModel
from mbseg.models.framing import scaled
from mbseg.models.joint import JointModel, JointPredictions
from mbseg.models.mean_probabilities import Upsampling, mean_probabilities
from mbseg.models.segmentation import SegmentationModel
from mbseg.runtime.torch_backend import describe

BACKEND = describe()
Size = tuple[int, int]  # (height, width)
Ending = Callable[..., object]  # takes what the network gives
Model = SegmentationModel | DetectionModel | JointModel
Prediction = Tensor | RawDetections | JointPredictions


@dataclass(frozen=True)
class TimedNetwork:
    """A network as it is to be timed: at which size, in how many passes, in which state."""

    model: Model  # run as it is in eval mode on the device, else a copy of it
    image_size: Size
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    backend: str = BACKEND  # in words; the model has been made ready for it
    trained: bool = False  # False: what follows the network gets noise, see `measure_latencies`


@dataclass(frozen=True)
class Latency:
    """Several ways to end, each measured from the images on, and what the figures hold for.

    The columns of a segmenter: "net", logits at the head's own stride; "upsampling_argmax", the class map done plainly,
    bilinear upsampling of all logits and then the arg-max; "class_map", the same classes from `class_map`. Those of a
    detector: "net", raw detections; "boxes", decoded and past the non-maximum suppression. It has the more to do the
    more scores pass the threshold, and of a network that was never trained nearly all do. Of a network with both heads:
    "net", and "class_map_boxes" for both.

    Of several passes each column is the sum of the passes' medians, without a percentile, and `runs` is the least that
    one of them ran. Behind each pass come, plainly, upsampling, softmax and an addition (the one arg-max is left out),
    and in the last column `mean_probabilities`; making the pictures of the other scales is in no column.
    """

    columns: Mapping[str, Timing]
    image_size: Size
    batch: int
    threads: int
    device: str
    backend: str
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False


class Pass(NamedTuple):
    """One run through a network, of which a picture needs `times`."""

    run: Callable[[], Laps]
    times: int


def measure_latency(
    model: Model,
    image_size: Size,
    *,
    device: str | torch.device = "cpu",
    batch: int = 1,
    threads: int | None = None,
    seconds: float = 3.0,
) -> Latency:
    """`measure_latencies` of one network that was never trained, eager and channels_last; `model` is left as it is."""
    network = TimedNetwork(copy_on(model, torch.device(device)), image_size)
    return measure_latencies([network], device=device, batch=batch, threads=threads, seconds=seconds)[0]


def measure_latencies(
    networks: Sequence[TimedNetwork],
    *,
    device: str | torch.device = "cpu",
    batch: int = 1,
    threads: int | None = None,
    seconds: float,
    on_run: Report = lambda _what, _done, _total: None,
) -> list[Latency]:
    """Times the networks on random images [batch, 3, height, width], for about `seconds` in all.

    All sizes of all take turns and get the same time (`share_time`), so that a change of the machine's load meets all
    of them; what takes over a second runs three times. A mirror image takes what its picture takes. A run is timed in
    steps, the network and each way to end, so that the columns share the network's time and differ by nothing else.

    Logits of a network that was never trained are nearly equal everywhere, and their class map is found in no time:
    noise of unit scale takes their place, for which `class_map` has the most to do.

    `threads` are torch's, None leaves them as they are. `on_run` hears of each run. Raises ConfigError for a batch or
    a number of threads below 1, and for sizes, scales and flips that do not exist.
    """
    check_counts(batch, threads)
    for network in networks:
        check_network(network)
    place = torch.device(device)
    with torch_threads(threads) as used_threads, torch.inference_mode():
        passes = [list(passes_of(network, batch, place)) for network in networks]
        laps = iter(share_time([one.run for several in passes for one in several], seconds, on_run))
        columns = [columns_of([(next(laps), one.times) for one in several]) for several in passes]
    return [
        Latency(
            columns=timings,
            image_size=network.image_size,
            batch=batch,
            threads=used_threads,
            device=str(place),
            backend=network.backend,
            scales=tuple(network.scales),
            flip=network.flip,
        )
        for network, timings in zip(networks, columns, strict=True)
    ]


def passes_of(network: TimedNetwork, batch: int, device: torch.device) -> Iterator[Pass]:
    """One for each scale."""
    is_ready = not network.model.training and next(network.model.parameters()).device.type == device.type
    net = network.model if is_ready else copy_on(network.model, device)
    endings = endings_of(network, net, batch)
    for scale in network.scales:
        size = scaled(network.image_size, scale)
        images = torch.randn(batch, 3, *size, device=device).to(memory_format=torch.channels_last)
        yield Pass(partial(run_once, net, images, endings, network.trained), times=2 if network.flip else 1)


def copy_on(model: Model, device: torch.device) -> Model:
    return copy.deepcopy(model).eval().to(device).to(memory_format=torch.channels_last)


def run_once(net: Model, images: Tensor, endings: Mapping[str, Ending], trained: bool) -> Laps:
    """Milliseconds of the network and of every ending."""
    prediction, net_ms = timed(lambda: net(images), images.device)
    seen = prediction if trained else noise_like(prediction)
    return {"net": net_ms, **{name: time_ms(partial(end, seen), images.device) for name, end in endings.items()}}


def noise_like(prediction: Prediction) -> Prediction:
    if isinstance(prediction, JointPredictions):
        return JointPredictions(torch.randn_like(prediction.logits), noisy(prediction.raw))
    return noisy(prediction) if isinstance(prediction, RawDetections) else torch.randn_like(prediction)


def noisy(raw: RawDetections) -> RawDetections:
    return raw._replace(class_logits=torch.randn_like(raw.class_logits))


def endings_of(network: TimedNetwork, net: Model, batch: int) -> dict[str, Ending]:
    """What follows each pass, under the names of `Latency`'s columns."""
    size = network.image_size
    if isinstance(net, DetectionModel):
        return {"boxes": partial(detect, net, size, batch)}
    if isinstance(net, JointModel):
        return {"class_map_boxes": partial(answer_both, net, size, batch)}
    if len(network.scales) == 1 and not network.flip:
        return {
            "upsampling_argmax": lambda logits: upsample(net, logits, size).argmax(dim=1),
            "class_map": lambda logits: class_map(logits, size, net.align_corners),
        }
    return {"upsampling_argmax": partial(add_plainly, net, size), "class_map": partial(add, net, size)}


def upsample(net: SegmentationModel, logits: Tensor, size: Size) -> Tensor:
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=net.align_corners)


def add_plainly(net: SegmentationModel, size: Size, logits: Tensor) -> Tensor:
    probabilities = upsample(net, logits, size).softmax(1)
    return probabilities.add_(probabilities)  # as good as any sum


def add(net: SegmentationModel, size: Size, logits: Tensor) -> Tensor:
    """One pass's part of the mean, as `Predictor` does it: on a CPU that is done when the classes are asked for."""
    mean = mean_probabilities(logits.device, Upsampling(size, size, net.align_corners), passes=1)
    mean.add(logits, mirrored=False)
    return mean.class_map()


def answer_both(net: JointModel, size: Size, batch: int, prediction: JointPredictions) -> object:
    return class_map(prediction.logits, size, net.align_corners), detect(net, size, batch, prediction.raw)


def detect(net: DetectionModel | JointModel, size: Size, batch: int, raw: RawDetections) -> list[Detections]:
    """The boxes are those of `Selection` as it is by default."""
    return postprocess(raw, net.default_boxes(size), image_size=size, picture_sizes=[size] * batch, scores=net.scores)


def columns_of(passes: Sequence[tuple[Sequence[Laps], int]]) -> dict[str, Timing]:
    """One timing for each column, of the laps of every pass and the times that a picture needs it."""
    names = passes[0][0][0]
    return {
        name: add_up([(summarize([until(name, one) for one in laps]), times) for laps, times in passes])
        for name in names
    }


def until(name: str, laps: Laps) -> float:
    """From the images on."""
    return laps["net"] if name == "net" else laps["net"] + laps[name]


def add_up(timings: Sequence[tuple[Timing, int]]) -> Timing:
    if sum(times for _, times in timings) == 1:
        return timings[0][0]
    median_ms = sum(timing.median_ms * times for timing, times in timings)
    return Timing(median_ms, p95_ms=None, runs=min(timing.runs for timing, _ in timings))


def check_network(network: TimedNetwork) -> None:
    check_request(network.image_size, "native", network.scales)
    if isinstance(network.model, DETECTORS):
        check_detector_request(network.image_size, network.scales, network.flip)


def check_counts(batch: int, threads: int | None) -> None:
    if batch < 1:
        raise ConfigError(f"batch is {batch}; it must be 1 or more")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; give 1 or more, or nothing to keep torch's own number")
