"""COCO's twelve figures for boxes, and AP by class: to the last bit those of pycocotools, in a fraction of its time.

pycocotools walks through every picture, class and range of areas in Python. Here one compiled pass over the whole split
finds the objects (`coco_matching`), and each class's curves are drawn at once (`coco_curves`).
"""

from collections.abc import Sequence
from typing import TypedDict

from mbseg.data.detection_samples import Annotation, Doubles
from mbseg.errors import DataError
from mbseg.metrics.box_records import Array, Predicted, Truth, predicted, truth
from mbseg.metrics.gather import gathered

NOTHING = -1.0  # what pycocotools gives where there is no object to find
ALL, SMALL, MEDIUM, LARGE = range(4)  # ranges of areas
AP50, AP75 = slice(0, 1), slice(5, 6)  # of the thresholds


class CocoFigures(TypedDict):
    """pycocotools' `stats`, in its order: fractions 0..1, or NOTHING for a size of which there is no object."""

    ap: float  # COCO AP@[.5:.95]
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float  # average recall, of the best 1, 10, 100 detections of each class in each picture
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


class CocoScores(CocoFigures):
    """The twelve figures and what lies behind them."""

    per_class: dict[str, float]  # COCO AP@[.5:.95] of the classes that occur in the split
    absent: list[str]  # those that do not, or in crowds alone
    dropped: int  # boxes predicted with non-finite numbers


class CocoAp:
    """Collects what was detected picture by picture, in any order, on any number of processes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.pictures: list[tuple[Truth, Predicted]] = []

    def update(self, annotation: Annotation, boxes: Array, scores: Array, labels: Array) -> None:
        """Count one picture: boxes [n, 4] xyxy in pixels of the annotated picture, scores [n], labels [n].

        Raises DataError if their numbers differ or a label is of no class.
        """
        self.pictures.append((truth(annotation), predicted(boxes, scores, labels, len(self.classes))))

    def merge(self) -> None:
        """Put together the pictures of all processes; once, after the last update."""
        self.pictures = gathered(self.pictures)

    def compute(self) -> CocoScores:
        """Raises DataError if there was no object to find."""
        from mbseg.metrics.coco_curves import draw_curves, find_all  # they import numba

        if not any((~objects.crowd).any() for objects, _ in self.pictures):
            raise DataError("no object in the split, or only crowds: there is nothing to detect")
        pictures = sorted(self.pictures, key=lambda picture: picture[0].image_id)
        precision, recall = draw_curves(find_all(pictures), len(self.classes))
        per_class = {name: mean(precision[:, :, label, ALL]) for label, name in enumerate(self.classes)}
        return CocoScores(
            **figures(precision, recall),
            per_class={name: ap for name, ap in per_class.items() if ap != NOTHING},
            absent=[name for name, ap in per_class.items() if ap == NOTHING],
            dropped=sum(found.dropped for _, found in pictures),
        )


def figures(precision: Doubles, recall: Doubles) -> CocoFigures:
    """From precision [thresholds, recalls, classes, areas] and recall [thresholds, classes, areas, limits]."""
    return CocoFigures(
        ap=mean(precision[..., ALL]),
        ap50=mean(precision[AP50, ..., ALL]),
        ap75=mean(precision[AP75, ..., ALL]),
        ap_small=mean(precision[..., SMALL]),
        ap_medium=mean(precision[..., MEDIUM]),
        ap_large=mean(precision[..., LARGE]),
        ar1=mean(recall[:, :, ALL, 0]),
        ar10=mean(recall[:, :, ALL, 1]),
        ar100=mean(recall[:, :, ALL, 2]),
        ar_small=mean(recall[:, :, SMALL, 2]),
        ar_medium=mean(recall[:, :, MEDIUM, 2]),
        ar_large=mean(recall[:, :, LARGE, 2]),
    )


def mean(values: Doubles) -> float:
    """Over what there is something to find of; the order of the sum is pycocotools' too."""
    known = values[values != NOTHING]
    return float(known.mean()) if known.size else NOTHING
