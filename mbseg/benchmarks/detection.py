"""SSDLite beside torchvision's: raw predictions, and the whole way from a picture to its boxes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.models.detection.ssd import SSD

from mbseg.analysis.timing import torch_threads
from mbseg.benchmarks.comparison import CPU, Comparison, compare
from mbseg.benchmarks.ssdlite_pair import (
    INPUT_SIZE,
    Pair,
    drawn_pictures,
    network_input,
    random_pair,
    stored,
    their_raw,
)
from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import iou
from mbseg.boxes.postprocess import Selection
from mbseg.data.detection_resize import resize
from mbseg.data.samples import UInt8Array
from mbseg.engine.device import uses_bf16
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import DetectionModel
from mbseg.nn.norm import Normalize
from mbseg.runtime.torch_backend import Precision, prepare
from mbseg.weights.foreign import HALF

THEIRS = "torchvision ssdlite320_mobilenet_v3_large, eager"
ALIKE = 0.9  # IoU of two detections that are taken for the same


def detection_speeds(*, seconds: float, threads: Sequence[int]) -> list[Comparison]:
    """Both comparisons at each number of threads, about `seconds` for one."""
    picture, *others = drawn_pictures()
    pair = random_pair(others)
    return [
        speed(pair, picture, seconds=seconds, threads=count)
        for count in threads
        for speed in (raw_speed, picture_speed)
    ]


def fast_precision() -> Precision:
    """bf16 where the CPU multiplies it natively."""
    return "bf16" if uses_bf16("auto", CPU) else "fp32"


def fast(model: DetectionModel) -> DetectionModel:
    return prepare(model, backend="fused", precision=fast_precision())


def fast_name() -> str:
    return f"mbseg, fast (batch norm fused, channels_last, {fast_precision()})"


def raw_speed(pair: Pair, picture: UInt8Array, *, seconds: float, threads: int) -> Comparison:
    """From the network's input to class logits and box offsets, one picture."""
    images = network_input(picture)
    in_last, ours = images.to(memory_format=torch.channels_last), pair.ours
    quick = fast(ours)
    with torch.inference_mode(), torch_threads(threads) as used:
        turns: dict[str, Callable[[], object]] = {  # each behind one of another layout, which costs it 4 %
            fast_name(): lambda: quick(in_last),
            THEIRS: lambda: their_raw(pair.theirs, images),
            "mbseg, eager fp32, input channels_last": lambda: ours(in_last),
            "mbseg, eager fp32, input contiguous": lambda: ours(images),
        }
        expected = their_raw(pair.theirs, images)["cls_logits"]
        eager, in_fast = (difference(one.class_logits, expected) for one in (ours(images), quick(in_last)))
        title = (
            f"SSDLite V3-Large of random weights, raw predictions, {INPUT_SIZE[0]} x {INPUT_SIZE[1]}, {used} threads; "
            f"logits differ by {eager:.0e} of their spread in eager mode, by {in_fast:.0e} in the fast one"
        )
        return compare(title, turns, seconds=seconds)


def picture_speed(pair: Pair, picture: UInt8Array, *, seconds: float, threads: int) -> Comparison:
    """From a picture [H, W, 3] uint8 to its final boxes."""
    plain, quick = picture_to_boxes(pair.ours), picture_to_boxes(fast(pair.ours))
    with torch.inference_mode(), torch_threads(threads) as used:
        turns: dict[str, Callable[[], object]] = {
            fast_name(): lambda: quick(picture),
            THEIRS: lambda: their_boxes(pair.theirs, picture),
            "mbseg, eager fp32": lambda: plain(picture),
        }
        resized = resize(picture, INPUT_SIZE)  # both resize with other roundings, and random weights magnify them
        expected = their_boxes(pair.theirs, resized)
        eager, in_fast = (agreeing(detect(resized), expected) for detect in (plain, quick))
        title = (
            f"SSDLite V3-Large of random weights, {picture.shape[0]} x {picture.shape[1]} to boxes, {used} threads; "
            f"of torchvision's {len(expected.scores)} boxes {eager} are found in eager mode, {in_fast} in the fast one"
        )
        return compare(title, turns, seconds=seconds)


def picture_to_boxes(model: DetectionModel) -> Callable[[UInt8Array], Detections]:
    predictor = BoxPredictor(model, Normalize(HALF, HALF), Selection())

    def detect(picture: UInt8Array) -> Detections:
        size = (picture.shape[0], picture.shape[1])
        return predictor(stored(resize(picture, INPUT_SIZE)), [size])[0]

    return detect


def their_boxes(theirs: SSD, picture: UInt8Array) -> Detections:
    """As torchvision documents it: the picture as floats in [0, 1], all else is done inside."""
    (found,) = theirs([stored(picture)[0].float() / 255])
    return Detections(found["boxes"], found["scores"], found["labels"] - 1)


def difference(logits: Tensor, expected: Tensor) -> float:
    """Root mean square, in standard deviations of what is expected."""
    return float((logits - expected).square().mean().sqrt() / expected.std())


def agreeing(found: Detections, expected: Detections) -> int:
    """How many of the expected detections are among those found: of the same class, and in nearly the same place."""
    alike = (iou(expected.boxes, found.boxes) >= ALIKE) & (expected.labels[:, None] == found.labels)
    return int(alike.any(1).sum())
