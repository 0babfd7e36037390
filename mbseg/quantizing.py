"""What an int8 file is made from and judged by: pictures of the training list, and the scores before and after."""

from typing import Any, NamedTuple, final

import cv2

from mbseg.boxes.geometry import Size
from mbseg.build import builder
from mbseg.config.schema import Experiment
from mbseg.errors import DataError
from mbseg.frame_scores import measure_frames
from mbseg.runtime.answers import FramePredictor, UInt8Array
from mbseg.runtime.exported import resized

CALIBRATION_PICTURES = 40  # ten do as well on VOC and CamVid; among more a rare scene is likelier
LARGE_DROP = 0.02


@final
class CalibrationPictures:
    """Some pictures of a split, RGB [H, W, 3], evenly spread over it; each is read when it is asked for.

    They come at their own size, or resized to the `size` that alone a file takes.
    """

    def __init__(self, split: Any, count: int, size: Size | None = None) -> None:
        chosen = min(count, len(split))
        self.split = split
        self.indices = [position * len(split) // chosen for position in range(chosen)]
        self.size = size

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> UInt8Array:
        image: UInt8Array = self.split[self.indices[position]].image
        return image if self.size is None else resized(image, self.size, cv2.INTER_LINEAR)


def calibration_pictures(
    experiment: Experiment, count: int = CALIBRATION_PICTURES, *, size: Size | None = None
) -> CalibrationPictures:
    """Pictures of `data.train` without augmentation. Raises DataError where there are none."""
    return CalibrationPictures(split_of(experiment, experiment.data.train, "is calibrated on"), count, size)


class ScoreChange(NamedTuple):
    """What rounding to 8 bits does to the score that decides in a task."""

    score: str  # such as "miou"
    before: float
    after: float
    split: str
    images: int

    def __str__(self) -> str:
        points = 100 * (self.after - self.before)
        return (
            f"{self.score} {self.before:.4f} in fp32, {self.after:.4f} in int8 ({points:+.2f} points) "
            f"over the {self.images} pictures of {self.split!r}"
        )


def scores_before_and_after(experiment: Experiment, before: FramePredictor, after: FramePredictor) -> ScoreChange:
    """The scores of the fp32 model and of the int8 file over `data.val`. Raises DataError where it cannot be read."""
    split = split_of(experiment, experiment.data.val, "is judged on")
    task = builder(experiment.task).task(experiment, weights=False)
    metrics = [measure_frames(experiment.task, split, predictor, task.metric()) for predictor in (before, after)]
    scores = [metric.compute()[task.score] for metric in metrics]
    return ScoreChange(task.score, scores[0], scores[1], experiment.data.val, len(split))


def split_of(experiment: Experiment, split: str, use: str) -> Any:
    try:
        return builder(experiment.task).dataset(experiment, split, augment=False)
    except DataError as error:
        raise DataError(
            f"int8 {use} pictures of {split!r}, and {error}; say where they are: data.root=FOLDER"
        ) from error


def advice(experiment: Experiment, change: ScoreChange) -> str | None:
    """One line on how to lose less; None where little is lost."""
    backbone = experiment.model.backbone.name
    if change.before - change.after <= LARGE_DROP:
        return None
    if backbone.startswith("mobilenet_v3") and not backbone.endswith("_minimal"):
        return (
            f"h-swish and squeeze-and-excite often suffer from 8 bits; {backbone}_minimal has neither: "
            f"train model.backbone.name={backbone}_minimal"
        )
    if experiment.train.quantization_aware:
        return "calibrate with more pictures (--calibration), or go on with the fine-tuning for more steps"
    return (
        "calibrate with more pictures (--calibration), or fine-tune under rounding: "
        "mbseg train CONFIG train.quantization_aware=true model.weights=THESE_WEIGHTS"
    )
