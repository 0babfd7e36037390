"""mIoU from one confusion matrix, accumulated over the whole split."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from mbseg.errors import ConfigError, DataError

Labels = NDArray[np.uint8] | Tensor
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
        if distributed.is_available() and distributed.is_initialized():
            device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
            counts = torch.from_numpy(self.counts).to(device)
            distributed.all_reduce(counts)
            self.counts = counts.cpu().numpy()

    def compute(self) -> SegmentationScores:
        """Raises DataError if no pixel was counted."""
        if not self.counts.any():
            raise DataError("no labelled pixel in the split: every pixel is ignored, or there is no picture")
        correct, labelled, predicted = self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0)
        iou = correct / np.maximum(labelled + predicted - correct, 1)
        occurs = labelled > 0
        return SegmentationScores(
            miou=float(iou[occurs].mean()),
            per_class={name: float(iou[label]) for label, name in enumerate(self.classes) if occurs[label]},
            pixel_accuracy=float(correct.sum() / labelled.sum()),
            absent=[name for label, name in enumerate(self.classes) if not occurs[label]],
        )


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
