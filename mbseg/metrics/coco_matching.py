"""The compiled part of `coco_ap`: which detection finds which object. Imports numba, so it is imported on first use.

The rules are those of pycocotools' `evaluateImg`, and so is every operation on numbers: the outcome is the same to
the last bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Outcomes = NDArray[np.uint8]
Function = TypeVar("Function", bound=Callable[..., Any])

FALSE_ALARM, HIT, IGNORED = 0, 1, 2
NONE = -1


class SortedObjects(NamedTuple):
    """All objects of a split, sorted by class and picture."""

    boxes: Doubles  # [m, 4] x, y, width, height
    crowd: Flags  # [m]
    ignored: Flags  # [ranges, m] crowds, and objects whose area lies outside the range


class Groups(NamedTuple):
    """Detections and objects of one class in one picture, where both occur: `first` .. `end` of either."""

    first: Integers
    end: Integers
    first_object: Integers
    end_object: Integers


def compiled(function: Function) -> Function:
    """Machine code, kept on disk for the next process."""
    return cast(Function, njit(nogil=True, cache=True)(function))


@compiled
def find_objects(
    boxes: Doubles, objects: SortedObjects, groups: Groups, thresholds: Doubles, outcomes: Outcomes
) -> None:
    """Mark in `outcomes` [ranges, thresholds, n] the detections [n, 4] that find an object.

    They are sorted by class, picture and falling score. What finds nothing is left as it is.
    """
    for group in range(len(groups.first)):
        first, start = groups.first[group], groups.first_object[group]
        overlaps = iou(boxes[first : groups.end[group]], objects, start, groups.end_object[group])
        for area in range(outcomes.shape[0]):
            ignored = objects.ignored[area, start : groups.end_object[group]]
            crowd = objects.crowd[start : groups.end_object[group]]
            for level in range(outcomes.shape[1]):
                least = min(thresholds[level], 1 - 1e-10)
                match_group(overlaps, ignored, crowd, least, outcomes[area, level, first : groups.end[group]])


@compiled
def match_group(overlaps: Doubles, ignored: Flags, crowd: Flags, least: float, outcomes: Outcomes) -> None:
    """The best detection chooses first, among the objects that are left; a crowd can be found many times."""
    taken = np.zeros(len(ignored), np.bool_)
    for detection in range(len(overlaps)):
        found = best_object(overlaps[detection], ignored, crowd, taken, least, False)
        if found == NONE:
            found = best_object(overlaps[detection], ignored, crowd, taken, least, True)
        if found != NONE:
            taken[found] = True
            outcomes[detection] = IGNORED if ignored[found] else HIT


@compiled
def best_object(
    overlaps: Doubles, ignored: Flags, crowd: Flags, taken: Flags, least: float, among_ignored: bool
) -> int:
    """The object overlapped most, by `least` or more; of equal ones the last."""
    best = NONE
    for number in range(len(overlaps)):
        if ignored[number] == among_ignored and (crowd[number] or not taken[number]) and overlaps[number] >= least:
            best, least = number, overlaps[number]
    return best


@compiled
def iou(boxes: Doubles, objects: SortedObjects, start: int, end: int) -> Doubles:
    """Intersection over union [n, end - start]; of a crowd, the share of the detection that lies in it."""
    overlaps = np.zeros((len(boxes), end - start))
    for row in range(len(boxes)):
        x, y, width, height = boxes[row]
        for column in range(end - start):
            left, top, wide, high = objects.boxes[start + column]
            common_width = min(x + width, left + wide) - max(x, left)
            common_height = min(y + height, top + high) - max(y, top)
            if common_width > 0 and common_height > 0:
                common = common_width * common_height
                size = width * height
                union = size if objects.crowd[start + column] else size + wide * high - common
                overlaps[row, column] = common / union
    return overlaps
