"""COCO's curves of precision over recall: all detections of a split, sorted and judged together."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbseg.data.detection_samples import Doubles, Flags, Integers
from mbseg.metrics.box_records import Picture, Predicted
from mbseg.metrics.coco_figures import NOTHING
from mbseg.metrics.coco_matching import FALSE_ALARM, HIT, IGNORED, Groups, Outcomes, SortedObjects, find_objects

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
RECALLS = np.linspace(0, 1, 101)
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])  # pixels: all, small, medium, large
LIMITS = (1, 10, 100)  # best detections of a class in a picture that count


class SortedDetections(NamedTuple):
    """All n detections of a split, sorted by class, picture and falling score; at most LIMITS[-1] of a group."""

    boxes: Doubles  # [n, 4] x, y, width, height
    scores: Doubles  # [n]
    labels: Integers  # [n]
    groups: Integers  # [n] one number a class and picture
    ranks: Integers  # [n] place in the group


class Found(NamedTuple):
    """What each detection is worth, and what there was to find."""

    detections: SortedDetections
    outcomes: Outcomes  # [areas, thresholds, n]
    object_labels: Integers  # [m] of the objects, sorted
    ignored: Flags  # [areas, m]


def find_all(pictures: Sequence[Picture]) -> Found:
    """Judge every detection at every threshold and range of areas; the pictures stand in the order of their ids."""
    detections = _detections([found for _, found in pictures])
    truths = [objects for objects, _ in pictures]
    places, labels = _places([objects.labels for objects in truths])
    order = np.lexsort((places, labels))
    labels, groups = labels[order], _groups(labels, places, len(pictures))[order]
    crowd = _joined([objects.crowd for objects in truths])[order]
    ignored = crowd | _outside(_joined([objects.areas for objects in truths])[order])
    outside = _outside(detections.boxes[:, 2] * detections.boxes[:, 3])
    alone = np.where(outside, IGNORED, FALSE_ALARM).astype(np.uint8)  # what finds no object
    outcomes = np.repeat(alone[:, None], len(THRESHOLDS), axis=1)
    objects = SortedObjects(_joined([objects.boxes for objects in truths])[order], crowd, ignored)
    find_objects(detections.boxes, objects, _meeting(detections.groups, groups), THRESHOLDS, outcomes)
    return Found(detections, outcomes, labels, ignored)


def _detections(found: Sequence[Predicted]) -> SortedDetections:
    places, labels = _places([picture.labels for picture in found])
    scores = _joined([picture.scores for picture in found])
    order = np.lexsort((-scores, places, labels))
    groups = _groups(labels, places, len(found))[order]
    ranks = np.arange(len(groups)) - np.searchsorted(groups, groups)
    counted = ranks < LIMITS[-1]
    order = order[counted]
    boxes = _joined([picture.boxes for picture in found])
    return SortedDetections(boxes[order], scores[order], labels[order], groups[counted], ranks[counted])


def _places(labels: Sequence[Integers]) -> tuple[Integers, Integers]:
    """The picture and the label of each entry."""
    return np.repeat(np.arange(len(labels)), [len(picture) for picture in labels]), _joined(labels)


def _meeting(groups: Integers, object_groups: Integers) -> Groups:
    """Where a group of detections and a group of objects are of the same class and picture."""
    common, first, first_object = np.intersect1d(groups, object_groups, return_indices=True)
    end, end_object = (np.searchsorted(every, common, side="right") for every in (groups, object_groups))
    return Groups(first, end, first_object, end_object)


def _outside(areas: Doubles) -> Flags:
    """Whether an area lies outside each range: [areas, n]."""
    return (areas < AREAS[:, :1]) | (areas > AREAS[:, 1:])


def _groups(labels: Integers, places: Integers, pictures: int) -> Integers:
    return labels * pictures + places


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts)


def _bounds(labels: Integers, num_classes: int) -> list[slice]:
    """Where each class lies among sorted labels."""
    edges = np.searchsorted(labels, np.arange(num_classes + 1))
    return [slice(start, end) for start, end in pairwise(edges)]


class Curves(NamedTuple):
    """NOTHING where a class has no object of the area."""

    precision: Doubles  # [thresholds, recalls, classes, areas]
    recall: Doubles  # [thresholds, classes, areas, limits] of all detections within the limit


def draw_curves(found: Found, num_classes: int) -> Curves:
    """pycocotools' `accumulate`."""
    precision = np.full((len(THRESHOLDS), len(RECALLS), num_classes, len(AREAS)), NOTHING)
    recall = np.full((len(THRESHOLDS), num_classes, len(AREAS), len(LIMITS)), NOTHING)
    objects = _bounds(found.object_labels, num_classes)
    for label, mine in enumerate(_bounds(found.detections.labels, num_classes)):
        order = np.argsort(-found.detections.scores[mine], kind="stable")
        outcomes, ranks = found.outcomes[:, :, mine][:, :, order], found.detections.ranks[mine][order]
        for area, to_find in enumerate((~found.ignored[:, objects[label]]).sum(axis=1)):
            if to_find:
                precision[:, :, label, area] = precisions(outcomes[area], to_find)
                recall[:, label, area] = recalls(outcomes[area], ranks, to_find)
    return Curves(precision, recall)


def precisions(outcomes: Outcomes, to_find: int) -> Doubles:
    """[thresholds, recalls] from outcomes [thresholds, n]: the best precision at each recall or a higher one."""
    hits, false_alarms = (np.cumsum(outcomes == kind, axis=1).astype(float) for kind in (HIT, FALSE_ALARM))
    precision = hits / (false_alarms + hits + np.spacing(1))
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = [np.searchsorted(row / to_find, RECALLS) for row in hits]
    beyond = np.zeros((len(outcomes), 1))  # a recall that is not reached
    return np.take_along_axis(np.concatenate([falling, beyond], axis=1), np.stack(reached), axis=1)


def recalls(outcomes: Outcomes, ranks: Integers, to_find: int) -> Doubles:
    """[thresholds, limits]: how many objects the best few detections of each picture find."""
    hits = outcomes == HIT
    return np.stack([hits[:, ranks < limit].sum(axis=1) for limit in LIMITS], axis=1) / to_find
