"""From a frame to its class map: mbseg in every engine, torchvision as documented, and the plain way to end."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from mbseg import build
from mbseg.analysis.timing import torch_threads
from mbseg.benchmarks.comparison import CPU, VOC_CLASSES, Comparison, calibrate, compare
from mbseg.create import create_segmenter
from mbseg.data.detection_resize import resize
from mbseg.data.reading import read_image
from mbseg.errors import ConfigError
from mbseg.models.framing import Protocol
from mbseg.models.prediction import Predictor, framed
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.predictors import Options, engine_text, frame_predictor, in_engines, load_predictor
from mbseg.runtime.answers import FramePredictor, UInt8Array
from mbseg.runtime.engines import drawn_frame, usable_engines
from mbseg.runtime.names import Precision
from mbseg.runtime.session_predictor import SessionPredictor
from mbseg.runtime.torch_predictor import TorchSegmenter, as_images
from mbseg.weights.foreign import IMAGENET_MEAN, IMAGENET_STD

SIZE = (513, 513)
THEIRS = "torchvision deeplabv3_mobilenet_v3_large, eager, as documented"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
Way = Callable[[], UInt8Array]  # from the frame to its class map


class Subject(NamedTuple):
    """What is shown to which network."""

    model: SegmentationModel
    normalize: Normalize
    frame: UInt8Array  # [513, 513, 3]
    title: str


def frame_speeds(
    weights: Path | None, picture: Path | None, exported: Sequence[Path], *, seconds: float, threads: Sequence[int]
) -> list[Comparison]:
    """At each number of threads, about `seconds` for one.

    Of a network with random weights on drawn patches, or a trained one on a picture if both are named; `exported` are
    files of the same weights. Raises ConfigError for weights that do not segment.
    """
    subject = trained(weights, picture) if weights and picture else random_subject()
    return [frame_speed(subject, exported, seconds=seconds, threads=count) for count in threads]


def random_subject() -> Subject:
    """MobileNetV2 at output stride 16 without ASPP; batch norm has the statistics of the frame."""
    frame, normalize = drawn_frame(SIZE), Normalize(IMAGENET_MEAN, IMAGENET_STD)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_segmenter("mobilenet_v2", num_classes=VOC_CLASSES, align_corners=True)
    calibrate(model, normalize(torch.cat([as_images(frame, CPU), as_images(frame[::-1], CPU)])))
    return Subject(model.eval(), normalize, frame, "MobileNetV2 OS16 of random weights")


def trained(weights: Path, picture: Path) -> Subject:
    model = build.load(weights)
    if not isinstance(model, SegmentationModel) or model.card is None:
        raise ConfigError(f"--weights {weights} is no segmenter; name one, or leave it and --picture away")
    normalize = Normalize(model.card.mean, model.card.std)
    return Subject(model, normalize, resize(read_image(picture), SIZE), f"{weights.name} on {picture.name}")


def frame_speed(subject: Subject, exported: Sequence[Path], *, seconds: float, threads: int) -> Comparison:
    """The first is the fastest."""
    with torch.inference_mode(), torch_threads(threads) as used:
        ours = predictors(subject, exported)
        ways: dict[str, Way] = {}
        for name, predictor in ours.items():
            ways[name] = partial(mask_of, predictor, subject.frame)
            ways[f"{name}, interpolate + argmax"] = partial(plain_mask, predictor, subject.frame)
        height, width = subject.frame.shape[:2]
        title = (
            f"{subject.title}, frame of {height} x {width} to its class map, {used} threads; "
            f"of {next(iter(ways))}'s pixels are the same in {shares_alike({name: ways[name] for name in ours})}"
        )
        turns: dict[str, Callable[[], object]] = {**ways, THEIRS: torchvision_way(subject.frame)}
        return fastest_first(compare(title, turns, seconds=seconds))


def predictors(subject: Subject, exported: Sequence[Path]) -> dict[str, FramePredictor]:
    found: dict[str, FramePredictor] = {}
    own = Predictor(subject.model, subject.normalize, Protocol())
    for precision in PRECISIONS:
        engines = usable_engines(precision, CPU)
        for engine, model in in_engines(subject.model, engines, precision, CPU).items():
            text = engine_text(engine, precision, CPU)
            found[f"mbseg, {engine} {precision}"] = frame_predictor(own, model, text, Options())
    return found | {f"mbseg, {file.name}": exported_segmenter(file) for file in exported}


def exported_segmenter(file: Path) -> FramePredictor:
    """Raises ConfigError for another task, and for a file of other frames."""
    loaded = load_predictor(str(file), run=Path(), frame_size=SIZE)
    predictor = loaded.predictor
    if loaded.task != "segmentation" or not isinstance(predictor, SessionPredictor):
        raise ConfigError(f"--exported {file}: name an exported file of a segmenter")
    if predictor.size not in (None, SIZE):
        raise ConfigError(f"--exported {file} takes frames of {predictor.size}; export it for any size, or for {SIZE}")
    return predictor


def plain_mask(predictor: FramePredictor, frame: UInt8Array) -> UInt8Array:
    """The same network in the same engine, its logits upsampled and decided by torch."""
    if isinstance(predictor, SessionPredictor):
        framing, logits = predictor.endings.framing, torch.from_numpy(predictor.session(frame[None])["logits"])
    else:
        assert isinstance(predictor, TorchSegmenter)
        own = predictor.predictor
        framing = own.framing
        logits = own.model(own.normalize(framed(as_images(frame, CPU).float(), framing)))
    assert framing is not None
    upsampling = framing.upsampling((frame.shape[0], frame.shape[1]))
    dense = F.interpolate(logits, upsampling.frame, mode="bilinear", align_corners=upsampling.align_corners)
    mask: UInt8Array = dense.argmax(1)[0, : frame.shape[0], : frame.shape[1]].to(torch.uint8).numpy()
    return mask


def torchvision_way(frame: UInt8Array) -> Way:
    """Its page's example without the resizing: uint8 to float, normalised, `["out"]`, arg-max."""
    model = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=VOC_CLASSES).eval()
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)

    def way() -> UInt8Array:
        batch = (torch.from_numpy(frame).permute(2, 0, 1).float() / 255).sub(mean).div(std)[None]
        mask: UInt8Array = model(batch)["out"].argmax(1)[0].to(torch.uint8).numpy()
        return mask

    return way


def mask_of(predictor: FramePredictor, frame: UInt8Array) -> UInt8Array:
    mask = predictor(frame).mask
    assert mask is not None
    return mask


def shares_alike(ways: Mapping[str, Way]) -> str:
    """The share of pixels that each has in common with the first, in words."""
    (_, first), *others = ((name, way()) for name, way in ways.items())
    return ", ".join(f"{name.removeprefix('mbseg, ')} {np.mean(first == mask):.2%}" for name, mask in others)


def fastest_first(comparison: Comparison) -> Comparison:
    order = sorted(comparison.milliseconds, key=lambda name: comparison.milliseconds[name])
    return Comparison(
        comparison.title,
        {name: comparison.milliseconds[name] for name in order},
        comparison.rounds,
        comparison.pictures,
    )
