"""Boundary IoU (Cheng et al., CVPR 2021, arXiv:2103.16562): of the outlines, which mIoU hardly sees.

The IoU of bands instead of whole masks: of a class, the pixels of its mask no farther than d from its outline. d is 2 %
of the picture's diagonal, at least one pixel, counted in 3 x 3 erosions (straight or diagonal steps cost the same), and
the edge of the picture is an outline. Pixels are counted over the whole split, as for mIoU.

Ignored pixels are counted in no band. They are laid over the prediction as they lie in the ground truth, and count as
something else beside every class: where a class meets them is an outline in both maps. Without it little would be left
of VOC, whose objects are all framed by an ignored seam. What is predicted on them moves no outline, so that a
prediction right on all other pixels scores 1; along the seam the figure asks for the right class close to the edge,
and in all other places for the edge itself.
"""

import math
from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np

from mbseg.data.labels import IGNORE_INDEX
from mbseg.data.samples import UInt8Array
from mbseg.metrics.confusion import Labels, as_array, count_pairs, iou_of_classes
from mbseg.metrics.gather import summed

DILATION_RATIO = 0.02  # width of a band / diagonal of the picture


class BoundaryScores(TypedDict):
    """Scores of a split; all are fractions 0..1."""

    boundary_iou: float  # mean of per_class_boundary_iou
    per_class_boundary_iou: dict[str, float]  # of the classes that occur in the ground truth


class BoundaryCounts:
    """Counts labelled pixels in bands: counts[0] in those of both maps, [1] of the truth, [2] of the prediction."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.counts = np.zeros((3, len(self.classes)), np.int64)

    def update(self, predicted: Labels, target: Labels) -> None:
        """Count one mask [H, W] or a batch [N, H, W] of uint8 class ids that a ConfusionMatrix has taken.

        The matrix refuses masks of different shapes and labels of no class.
        """
        size = target.shape[-2:]
        found, truth = (as_array(labels).reshape(-1, *size) for labels in (predicted, target))
        for one_found, one_truth in zip(found, truth, strict=True):
            self._count(np.where(one_truth == IGNORE_INDEX, one_truth, one_found), one_truth)

    def _count(self, predicted: UInt8Array, target: UInt8Array) -> None:
        pairs = count_pairs(bands(predicted), bands(target))
        self.counts += np.stack([pairs.diagonal(), pairs.sum(1), pairs.sum(0)])[:, : len(self.classes)]

    def merge(self) -> None:
        """Add up the counts of all processes, so that each has the whole split; once, after the last update."""
        self.counts = summed(self.counts)

    def compute(self) -> BoundaryScores:
        """Raises DataError if no pixel was counted."""
        per_class = iou_of_classes(self.classes, *self.counts)
        return BoundaryScores(boundary_iou=float(np.mean(list(per_class.values()))), per_class_boundary_iou=per_class)


def bands(labels: UInt8Array) -> UInt8Array:
    """The labels [H, W] of pixels with another label or the picture's edge around them, 255 inside of all outlines.

    A mask eroded d times keeps the pixels whose window, 2d + 1 to a side, holds that label alone: those whose window
    has one label as its least and greatest. So two filters find the bands of all classes.
    """
    distance = band_width(*labels.shape)
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    alone = cv2.erode(labels, window) == cv2.dilate(labels, window)
    found = labels.copy()
    far_from_edge = slice(distance, -distance)
    np.copyto(found[far_from_edge, far_from_edge], IGNORE_INDEX, where=alone[far_from_edge, far_from_edge])
    return found


def band_width(height: int, width: int) -> int:
    """d in pixels; a half is rounded to the even number, as the authors' code does."""
    return max(1, round(DILATION_RATIO * math.hypot(height, width)))
