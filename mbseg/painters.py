"""Models at work on frames: what they find, and how it is drawn."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, final

import torch
from torch import Tensor

from mbseg import build_detection, build_segmentation
from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.build import builder
from mbseg.build_common import labels
from mbseg.config.schema import Experiment
from mbseg.data.labels import Palette
from mbseg.engine.device import pick_device, use_threads
from mbseg.errors import ConfigError
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import SMALLEST_SIDE
from mbseg.models.prediction import Predictor, fit_longer_side
from mbseg.nn.fuse import fused
from mbseg.targets import read_target
from mbseg.tasks.detection import DetectionTask
from mbseg.tasks.segmentation import SegmentationTask
from mbseg.video.boxes import LEAST_SCORE, draw_boxes
from mbseg.video.opencv import quiet_cv2
from mbseg.video.overlay import UInt8Array, overlay
from mbseg.weights.report import load_state

COARSEST_CELL = 32  # pixels: the shortest longer side of a segmenter's picture

Found = TypeVar("Found")


class Painter(ABC, Generic[Found]):
    """A model on frames [H, W, 3] BGR."""

    device: torch.device

    @abstractmethod
    def infer(self, frame: UInt8Array) -> Found:
        """From the frame to what is in it, on the CPU: preprocessing, network, and what comes behind it."""

    @abstractmethod
    def draw(self, frame: UInt8Array, found: Found) -> UInt8Array:
        """A copy of the frame with that over it."""

    @abstractmethod
    def input_size(self, size: Size) -> Size:
        """(height, width) at which the network sees a frame of that size."""


@final
@dataclass(frozen=True)
class Segmenter(Painter[UInt8Array]):
    """Finds the class map [H, W]."""

    predictor: Predictor
    device: torch.device
    palette: Palette  # BGR

    def infer(self, frame: UInt8Array) -> UInt8Array:
        mask: UInt8Array = self.predictor(as_images(frame, self.device))[0].cpu().numpy()
        return mask

    def draw(self, frame: UInt8Array, found: UInt8Array) -> UInt8Array:
        return overlay(frame, found, self.palette)

    def input_size(self, size: Size) -> Size:
        return self.predictor.input_size(size)


@final
@dataclass(frozen=True)
class Detector(Painter[Detections]):
    """Finds boxes; a frame is stretched to the network's size, or brought to `longer_side` in its own proportions."""

    predictor: BoxPredictor
    device: torch.device
    classes: Sequence[str]
    palette: Palette  # BGR
    longer_side: int | None = None

    def infer(self, frame: UInt8Array) -> Detections:
        cv2 = quiet_cv2()
        size = (frame.shape[0], frame.shape[1])
        resized = cv2.resize(frame, self.input_size(size)[::-1], interpolation=cv2.INTER_LINEAR)
        (found,) = self.predictor(as_images(resized, self.device), [size])
        return Detections(found.boxes.cpu(), found.scores.cpu(), found.labels.cpu())

    def draw(self, frame: UInt8Array, found: Detections) -> UInt8Array:
        boxes, labels, scores = found.boxes.numpy(), found.labels.numpy(), found.scores.numpy()
        return draw_boxes(frame, boxes, labels, scores, self.classes, self.palette, least_score=0)

    def input_size(self, size: Size) -> Size:
        if self.longer_side is None:
            return self.predictor.model.image_size
        height, width = fit_longer_side(size, self.longer_side)
        return max(SMALLEST_SIDE, height), max(SMALLEST_SIDE, width)


def as_images(frame: UInt8Array, device: torch.device) -> Tensor:
    """[H, W, 3] BGR -> [1, 3, H, W] RGB, uint8."""
    cv2 = quiet_cv2()
    return torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).to(device).permute(2, 0, 1)[None]


def load_painter(
    target: str, overrides: Sequence[str], *, run: Path, longer_side: int | None, least_score: float | None
) -> Painter[Any]:
    """The network of a weights file, run folder or config, fused for use.

    Raises ConfigError, WeightsError or DataError for what cannot be used.
    """
    experiment, state, origin = read_target(target, overrides, weights=None, run=run)
    use_threads(experiment.threads)
    task = builder(experiment.task).task(experiment, weights=False)
    load_state(task.model, state, origin=origin)
    device = pick_device(experiment.device)
    task.model = fused(task.model).to(memory_format=torch.channels_last)
    task.to(device)
    if experiment.task == "detection":
        return make_detector(experiment, task, device, longer_side, LEAST_SCORE if least_score is None else least_score)
    if least_score is not None:
        raise ConfigError(f"--least-score is for detection, and {origin} segments; leave it away")
    return make_segmenter(experiment, task, device, longer_side)


def make_segmenter(
    experiment: Experiment, task: SegmentationTask, device: torch.device, longer_side: int | None
) -> Segmenter:
    """Frames are resized to `longer_side`, or treated as in the protocol that the weights carry."""
    protocol = build_segmentation.protocol(experiment)
    if longer_side is not None:
        check_longer_side(longer_side, COARSEST_CELL)
        protocol = replace(protocol, resize_longer_side=longer_side, pad_to=None)
    predictor = Predictor(task.model, task.normalize, protocol)
    return Segmenter(predictor, device, as_bgr(labels(experiment).palette))


def make_detector(
    experiment: Experiment, task: DetectionTask, device: torch.device, longer_side: int | None, least_score: float
) -> Detector:
    """Boxes below `least_score` are dropped before the suppression, which is quicker and leaves the others the same."""
    if not 0 <= least_score <= 1:
        raise ConfigError(f"--least-score is {least_score:g}; scores lie between 0 and 1")
    if longer_side is not None:
        check_longer_side(longer_side, SMALLEST_SIDE)
    selection = build_detection.selection(experiment)
    selection = replace(selection, score_threshold=max(least_score, selection.score_threshold))
    predictor, known = BoxPredictor(task.model, task.normalize, selection), labels(experiment)
    return Detector(predictor, device, known.classes, as_bgr(known.palette), longer_side)


def check_longer_side(longer_side: int, shortest: int) -> None:
    if longer_side < shortest:
        raise ConfigError(f"--longer-side is {longer_side}; it must be {shortest} or more")


def as_bgr(palette: Palette) -> Palette:
    return tuple((blue, green, red) for red, green, blue in palette)
