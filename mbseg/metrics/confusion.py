"""mIoU from one confusion matrix, accumulated over the whole split."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbseg.errors import ConfigError, DataError
from mbseg.metrics.gather import summed

Labels = NDArray[np.uint8] | Tensor
Counts = NDArray[np.int64]
UINT8 = 256  # values of a label


class SegmentationScores(TypedDict):
    """Scores of a split; all are fractions 0..1."""

    miou: float  # mean of per_class
    per_class: dict[str, float]  # IoU of the classes that occur in the ground truth
    pixel_accuracy: float
    absent: list[str]  # classes that do not occur in the ground truth, predicted or not: not in the mean


class ConfusionMatrix:
    """Counts labelled pixels: counts[target, predicted], int64."""

    def __init__(self, num_classes: int, ignore_index: int | None = 255, classes: Sequence[str] | None = None) -> None:
        """`classes` names them in the scores; None: by their numbers. Raises ConfigError if their number differs."""
        self.classes = tuple(map(str, range(num_classes)) if classes is None else classes)
        if len(self.classes) != num_classes:
            raise ConfigError(f"{len(self.classes)} class names for {num_classes} classes; name each of them once")
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, predicted: Labels, target: Labels) -> None:
        """Count one mask [H, W] or a batch [N, H, W] of uint8 class ids; pixels with target ignore_index are left out.

        Raises DataError if the shapes differ, a mask is not uint8, or a counted pixel has a label of no class.
        """
        pairs = count_pairs(as_array(predicted), as_array(target))
        if self.ignore_index is not None:
            pairs[self.ignore_index] = 0
        known = len(self.classes)
        for name, pixels in (("target", pairs.sum(1)), ("prediction", pairs.sum(0))):
            if (unknown := np.flatnonzero(pixels[known:]) + known).size:
                raise DataError(f"the {name} has label {unknown[0]}; the {known} classes are 0 to {known - 1}")
        self.counts += pairs[:known, :known]

    def merge(self) -> None:
        """Add up the counts of all processes, so that each has the whole split; once, after the last update."""
        self.counts = summed(self.counts)

    def compute(self) -> SegmentationScores:
        """Raises DataError if no pixel was counted."""
        correct, labelled, predicted = self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0)
        per_class = iou_of_classes(self.classes, correct, labelled, predicted)
        return SegmentationScores(
            miou=float(np.mean(list(per_class.values()))),
            per_class=per_class,
            pixel_accuracy=float(correct.sum() / labelled.sum()),
            absent=[name for name in self.classes if name not in per_class],
        )


def iou_of_classes(classes: Sequence[str], both: Counts, labelled: Counts, predicted: Counts) -> dict[str, float]:
    """IoU of the classes that occur in the ground truth, from the pixels of each [num_classes].

    Raises DataError if none occurs.
    """
    if not labelled.any():
        raise DataError("no labelled pixel in the split: every pixel is ignored, or there is no picture")
    numbers = zip(classes, both, labelled, predicted, strict=True)
    return {name: float(common / (true + found - common)) for name, common, true, found in numbers if true}


def as_array(labels: Labels) -> NDArray[np.uint8]:
    return labels.cpu().numpy() if isinstance(labels, Tensor) else labels


def count_pairs(predicted: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[256, 256]: how often each (target, predicted) occurs. All values are counted: masking first takes longer."""
    if predicted.shape != target.shape:
        raise DataError(f"the prediction is {list(predicted.shape)}, its mask {list(target.shape)}; they must be equal")
    if not predicted.dtype == target.dtype == np.uint8:
        raise DataError(f"the prediction is {predicted.dtype}, its mask {target.dtype}; both must be uint8")
    pairs = target.astype(np.uint16) * np.uint16(UINT8) + predicted
    return np.bincount(pairs.ravel(), minlength=UINT8 * UINT8).reshape(UINT8, UINT8)
