"""PASCAL VOC's average precision at IoU 0.5, in both of its conventions.

A detection belongs to the object of its class that it overlaps most, whether that is taken or not. If the overlap is
at least 0.5 it is ignored where the object is difficult or a crowd (COCO's word for a region of many objects), a hit
where it is the first, in the order of the scores, and a false alarm otherwise. (The rules of the VOC development kits,
which release 2012 changed only in `area`.)
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from mbseg.data.detection_samples import Doubles, Flags, Integers
from mbseg.data.overlap import iou
from mbseg.errors import DataError
from mbseg.metrics.box_records import Picture, Predicted, Truth

MINIMUM_IOU = 0.5
NO_OBJECT = -1  # what a detection belongs to that overlaps none enough
RECALLS = np.arange(0, 1.1, 0.1)  # VOC 2007: 11 points


class VocScores(TypedDict):
    """Fractions 0..1; the means run over the classes that occur in the split."""

    voc_map: float  # VOC mAP@0.5: area under the curve (2010 to 2012)
    voc07_map: float  # VOC07 mAP@0.5: 11 points (2007 to 2009)
    voc_per_class: dict[str, float]
    voc07_per_class: dict[str, float]


def voc_ap(pictures: Sequence[Picture], classes: Sequence[str]) -> VocScores:
    """The scores of a split, its pictures in any order. Raises DataError if there was no object to find."""
    if all(ignored(objects).all() for objects, _ in pictures):
        raise DataError("no object in the split, or only difficult ones and crowds: there is nothing to detect")
    found = collected(sorted(pictures, key=lambda picture: picture[0].image_id))
    curves = {name: precision_recall(found, label) for label, name in enumerate(classes)}
    present = {name: curve for name, curve in curves.items() if curve.objects}
    by_area = {name: area(curve) for name, curve in present.items()}
    by_points = {name: eleven_points(curve) for name, curve in present.items()}
    return VocScores(
        voc_map=float(np.mean(list(by_area.values()))),
        voc07_map=float(np.mean(list(by_points.values()))),
        voc_per_class=by_area,
        voc07_per_class=by_points,
    )


def ignored(objects: Truth) -> Flags:
    """The objects [m] that are neither to be found nor found wrongly."""
    return objects.difficult | objects.crowd


def belongs_to(found: Predicted, objects: Truth) -> Integers:
    """The object [n] that each detection overlaps most, if by 0.5 or more and of its class."""
    if not len(objects.labels):
        return np.full(len(found.labels), NO_OBJECT)
    overlaps = iou(corners(found.boxes), corners(objects.boxes))
    overlaps[found.labels[:, None] != objects.labels] = -1
    nearest = overlaps.argmax(axis=1)
    return np.where(overlaps.max(axis=1) >= MINIMUM_IOU, nearest, NO_OBJECT)


def corners(boxes: Doubles) -> Doubles:
    """xyxy of boxes [n, 4] x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


class Collected(NamedTuple):
    """The n detections and m objects of all pictures."""

    labels: Integers  # [n]
    scores: Doubles  # [n]
    hits: Integers  # [n] the number, through all pictures, of the object that each belongs to, or NO_OBJECT
    ignored: Flags  # [n] it belongs to an object that is ignored
    object_labels: Integers  # [m]
    to_find: Flags  # [m]


def collected(pictures: Sequence[Picture]) -> Collected:
    """Put one picture behind the other."""
    first = np.cumsum([0, *(len(objects.labels) for objects, _ in pictures)])  # object of each picture
    own = [belongs_to(found, objects) for objects, found in pictures]
    hits = np.concatenate([np.where(hit == NO_OBJECT, NO_OBJECT, hit + first[i]) for i, hit in enumerate(own)])
    not_to_find = np.concatenate([ignored(objects) for objects, _ in pictures])
    return Collected(
        labels=np.concatenate([found.labels for _, found in pictures]),
        scores=np.concatenate([found.scores for _, found in pictures]),
        hits=hits,
        ignored=np.append(not_to_find, False)[hits],  # NO_OBJECT takes the last
        object_labels=np.concatenate([objects.labels for objects, _ in pictures]),
        to_find=~not_to_find,
    )


class Curve(NamedTuple):
    """Of one class: hits and false alarms down to each of n detections that count, the best first."""

    hits: Integers  # [n] growing
    false_alarms: Integers  # [n] growing
    objects: int  # to be found; ignored ones are not among them

    @property
    def precision(self) -> Doubles:
        return self.hits / (self.hits + self.false_alarms)

    @property
    def recall(self) -> Doubles:
        return self.hits / self.objects


def precision_recall(found: Collected, label: int) -> Curve:
    """The curve of one class; equal scores count in the order of the pictures."""
    counted = (found.labels == label) & ~found.ignored
    order = np.argsort(-found.scores[counted], kind="stable")
    hit = _first_of_each(found.hits[counted][order])
    objects = (found.object_labels == label) & found.to_find
    return Curve(np.cumsum(hit), np.cumsum(~hit), int(objects.sum()))


def _first_of_each(objects: Integers) -> Flags:
    """True where an object, NO_OBJECT left out, comes for the first time."""
    hit = np.zeros(len(objects), np.bool_)
    found, places = np.unique(objects, return_index=True)
    hit[places[found != NO_OBJECT]] = True
    return hit


def eleven_points(curve: Curve) -> float:
    """VOC 2007: the mean, over recalls of 0, 0.1 .. 1, of the best precision at that recall or a higher one.

    Compared as doubles, as in the kit and in all that follow it: 3 objects of 10 do not reach the recall of 0.1 * 3,
    which lies just above 3 / 10; 6 and 7 tenths fall short likewise.
    """
    best = [curve.precision[curve.recall >= point].max(initial=0) for point in RECALLS]
    return float(np.mean(best))


def area(curve: Curve) -> float:
    """VOC 2010 to 2012: the area under the curve, its precision made to fall with the recall."""
    falling = np.maximum.accumulate(curve.precision[::-1])[::-1]
    gained = np.diff(curve.hits, prepend=0)
    return float((falling * gained).sum() / curve.objects)
