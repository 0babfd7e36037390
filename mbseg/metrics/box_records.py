"""What there is to find in one picture and what a detector found, without the numbers that cannot be scored."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbseg.data.detection_samples import Annotation, Doubles, Flags, Integers
from mbseg.errors import DataError

Array = NDArray[Any] | Tensor


class Truth(NamedTuple):
    """The m objects of one picture; faulty boxes are judged as they are, if only they are finite."""

    image_id: int
    boxes: Doubles  # [m, 4] x, y, width, height
    labels: Integers  # [m]
    areas: Doubles  # [m]
    difficult: Flags  # [m]
    crowd: Flags  # [m]


def truth(annotation: Annotation) -> Truth:
    finite = np.isfinite(annotation.boxes).all(axis=1) & np.isfinite(annotation.areas)
    return Truth(
        annotation.image_id,
        annotation.boxes[finite],
        annotation.labels[finite],
        annotation.areas[finite],
        annotation.difficult[finite],
        annotation.crowd[finite],
    )


class Predicted(NamedTuple):
    """n boxes, each with a class and a score; all finite."""

    boxes: Doubles  # [n, 4] x, y, width, height in pixels of the picture in its file
    scores: Doubles  # [n]
    labels: Integers  # [n]
    dropped: int  # boxes left out because a corner or the score was not finite


def predicted(boxes: Array, scores: Array, labels: Array, num_classes: int) -> Predicted:
    """From boxes [n, 4] xyxy, scores [n] and labels [n].

    Raises DataError if their numbers differ or a label is of no class.
    """
    corners = np.asarray(_array(boxes), np.float64).reshape(-1, 4)
    marks, kinds = np.asarray(_array(scores), np.float64).ravel(), np.asarray(_array(labels), np.int64).ravel()
    if not len(corners) == len(marks) == len(kinds):
        raise DataError(
            f"{len(corners)} boxes, {len(marks)} scores and {len(kinds)} labels; their numbers must be equal"
        )
    if (unknown := kinds[(kinds < 0) | (kinds >= num_classes)]).size:
        raise DataError(f"the prediction has label {unknown[0]}; the {num_classes} classes are 0 to {num_classes - 1}")
    finite = np.isfinite(corners).all(axis=1) & np.isfinite(marks)
    corners = corners[finite]
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return Predicted(sides, marks[finite], kinds[finite], int((~finite).sum()))


Picture = tuple[Truth, Predicted]  # what there is in it, and what was found


def recorded(annotation: Annotation, boxes: Array, scores: Array, labels: Array, num_classes: int) -> Picture:
    """A picture and its detections: boxes [n, 4] xyxy in pixels of the annotated picture, scores [n], labels [n].

    Raises DataError if their numbers differ or a label is of no class.
    """
    return truth(annotation), predicted(boxes, scores, labels, num_classes)


def _array(values: Array) -> NDArray[Any]:
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
