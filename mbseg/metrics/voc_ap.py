"""PASCAL VOC's average precision at IoU 0.5, in both of its conventions.

A detection belongs to the object of its class that it overlaps most, whether that is taken or not. If the overlap is
at least 0.5 it is ignored where the object is difficult, a hit where it is the first, in the order of the scores, and
a false alarm otherwise. (The rules of the VOC development kits, which release 2012 changed only in `area`.)
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from mbseg.data.detection_samples import Annotation, Doubles, Flags, Integers
from mbseg.data.overlap import iou
from mbseg.errors import DataError
from mbseg.metrics.box_records import Array, Predicted, Truth, predicted, truth
from mbseg.metrics.gather import gathered

MINIMUM_IOU = 0.5
NOTHING = -1  # the object that a false alarm hits


class VocScores(TypedDict):
    """Fractions 0..1; the means run over the classes that occur in the split."""

    voc_map: float  # VOC mAP@0.5: area under the curve (2010 to 2012)
    voc07_map: float  # VOC07 mAP@0.5: 11 points (2007 to 2009)
    voc_per_class: dict[str, float]
    voc07_per_class: dict[str, float]
    absent: list[str]  # classes of which no object, or only difficult ones, occur
    dropped: int  # boxes predicted with non-finite numbers


class Outcome(NamedTuple):
    """One picture with m objects and n detections."""

    objects: Truth
    found: Predicted
    hits: Integers  # [n] the object that each belongs to, or NOTHING


class VocAp:
    """Collects what was detected picture by picture, in any order, on any number of processes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.outcomes: list[Outcome] = []

    def update(self, annotation: Annotation, boxes: Array, scores: Array, labels: Array) -> None:
        """Count one picture: boxes [n, 4] xyxy in pixels of the annotated picture, scores [n], labels [n]."""
        found = predicted(boxes, scores, labels, len(self.classes))
        objects = truth(annotation)
        self.outcomes.append(Outcome(objects, found, belongs_to(found, objects)))

    def merge(self) -> None:
        """Put together the pictures of all processes; once, after the last update."""
        self.outcomes = gathered(self.outcomes)

    def compute(self) -> VocScores:
        """Raises DataError if there was no object to find."""
        outcomes = sorted(self.outcomes, key=lambda outcome: outcome.objects.image_id)
        if not any((~outcome.objects.difficult).any() for outcome in outcomes):
            raise DataError("no object in the split, or only difficult ones: there is nothing to detect")
        found = collected(outcomes)
        curves = {name: precision_recall(found, label) for label, name in enumerate(self.classes)}
        present = {name: curve for name, curve in curves.items() if curve.objects}
        by_area = {name: area(curve) for name, curve in present.items()}
        by_points = {name: eleven_points(curve) for name, curve in present.items()}
        return VocScores(
            voc_map=float(np.mean(list(by_area.values()))),
            voc07_map=float(np.mean(list(by_points.values()))),
            voc_per_class=by_area,
            voc07_per_class=by_points,
            absent=[name for name in self.classes if name not in present],
            dropped=sum(outcome.found.dropped for outcome in outcomes),
        )


def belongs_to(found: Predicted, objects: Truth) -> Integers:
    """The object [n] that each detection overlaps most, if by 0.5 or more and of its class."""
    if not len(objects.labels):
        return np.full(len(found.labels), NOTHING)
    overlaps = iou(corners(found.boxes), corners(objects.boxes))
    overlaps[found.labels[:, None] != objects.labels] = -1
    nearest = overlaps.argmax(axis=1)
    return np.where(overlaps.max(axis=1) >= MINIMUM_IOU, nearest, NOTHING)


def corners(boxes: Doubles) -> Doubles:
    """xyxy of boxes [n, 4] x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


class Collected(NamedTuple):
    """The n detections and m objects of all pictures."""

    labels: Integers  # [n]
    scores: Doubles  # [n]
    hits: Integers  # [n] the number, through all pictures, of the object that each belongs to, or NOTHING
    ignored: Flags  # [n] it belongs to a difficult object
    object_labels: Integers  # [m]
    difficult: Flags  # [m]


def collected(outcomes: Sequence[Outcome]) -> Collected:
    """Put one picture behind the other."""
    first = np.cumsum([0, *(len(outcome.objects.labels) for outcome in outcomes)])  # object of each picture
    numbered = [
        np.where(outcome.hits == NOTHING, NOTHING, outcome.hits + first[i]) for i, outcome in enumerate(outcomes)
    ]
    hits = np.concatenate(numbered)
    difficult = np.concatenate([outcome.objects.difficult for outcome in outcomes])
    return Collected(
        labels=np.concatenate([outcome.found.labels for outcome in outcomes]),
        scores=np.concatenate([outcome.found.scores for outcome in outcomes]),
        hits=hits,
        ignored=np.append(difficult, False)[hits],  # NOTHING takes the last
        object_labels=np.concatenate([outcome.objects.labels for outcome in outcomes]),
        difficult=difficult,
    )


class Curve(NamedTuple):
    """Of one class: hits and false alarms down to each of n detections that count, the best first."""

    hits: Integers  # [n] growing
    false_alarms: Integers  # [n] growing
    objects: int  # to be found; difficult ones are not among them

    @property
    def precision(self) -> Doubles:
        return self.hits / (self.hits + self.false_alarms)


def precision_recall(found: Collected, label: int) -> Curve:
    """The curve of one class; equal scores count in the order of the pictures."""
    counted = (found.labels == label) & ~found.ignored
    order = np.argsort(-found.scores[counted], kind="stable")
    hit = _first_of_each(found.hits[counted][order])
    objects = (found.object_labels == label) & ~found.difficult
    return Curve(np.cumsum(hit), np.cumsum(~hit), int(objects.sum()))


def _first_of_each(objects: Integers) -> Flags:
    """True where an object, NOTHING left out, comes for the first time."""
    hit = np.zeros(len(objects), np.bool_)
    found, places = np.unique(objects, return_index=True)
    hit[places[found != NOTHING]] = True
    return hit


def eleven_points(curve: Curve) -> float:
    """VOC 2007: the mean, over recalls of 0, 0.1 .. 1, of the best precision at that recall or a higher one.

    Recalls are compared as fractions: the kit's 0.1 * 3 lies just above 3 / 10 and would miss it.
    """
    best = [curve.precision[10 * curve.hits >= point * curve.objects].max(initial=0) for point in range(11)]
    return float(np.mean(best))


def area(curve: Curve) -> float:
    """VOC 2010 to 2012: the area under the curve, its precision made to fall with the recall."""
    falling = np.maximum.accumulate(curve.precision[::-1])[::-1]
    gained = np.diff(curve.hits, prepend=0)
    return float((falling * gained).sum() / curve.objects)
