"""The boxes of a COCO file as columns of numbers: as objects of Python, a million of them would take a gigabyte."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbseg.data.coco_entries import Entry, integer, number, told
from mbseg.data.detection_samples import Doubles, Flags, Integers
from mbseg.errors import DataError

WITHOUT_ID = -(1 << 63)


class PictureBoxes(NamedTuple):
    """The n boxes of one picture, in the order of the file."""

    boxes: Doubles  # [n, 4] x, y, width, height
    labels: Integers  # [n]
    areas: Doubles  # [n]
    crowd: Flags  # [n]


class Boxes:
    """The entries of `annotations`, one behind the other."""

    def __init__(self) -> None:
        self._ids, self._pictures, self._categories = array("q"), array("q"), array("q")
        self._boxes, self._areas, self._crowd = array("d"), array("d"), array("b")

    def add(self, index: int, entry: Entry) -> None:
        """Raises DataError."""
        place = place_of(index, entry.get("id"))
        category = integer(entry, "category_id", place)
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{place}: bbox is {told(box)}; expected [x, y, width, height]")
        numbers = [number(value, "bbox", place) for value in box]
        area = number(entry["area"], "area", place) if "area" in entry else numbers[2] * numbers[3]
        if not 0 <= area < math.inf and "area" in entry:
            raise DataError(f"{place}: area is {area:g}; a number of pixels is expected")
        crowd = entry.get("iscrowd") or 0
        if crowd not in (0, 1):
            raise DataError(f"{place}: iscrowd is {told(crowd)}; 0 or 1 is expected")
        self._pictures.append(integer(entry, "image_id", place))
        self._ids.append(entry["id"] if has_id(entry.get("id")) else WITHOUT_ID)
        self._categories.append(category)
        self._boxes.extend(numbers)
        self._areas.append(area)
        self._crowd.append(bool(crowd))

    def by_picture(self, pictures: Sequence[int], label_of: Callable[[int, str], int]) -> Iterator[PictureBoxes]:
        """Those of each of `pictures`, ids that rise. Raises DataError for a box of any other picture.

        `label_of` turns a category, and the place where it stands, into a label, and may raise too.
        """
        places = self._places(np.array(pictures, np.int64))
        labels = self._labels(label_of)
        order = np.argsort(places, kind="stable")
        labels = labels[order]
        boxes = column(self._boxes, np.float64).reshape(-1, 4)[order]
        areas, crowd = column(self._areas, np.float64)[order], column(self._crowd, np.bool_)[order]
        bounds = np.searchsorted(places[order], np.arange(len(pictures) + 1))
        slices = [slice(*both) for both in pairwise(bounds.tolist())]
        return (PictureBoxes(boxes[part], labels[part], areas[part], crowd[part]) for part in slices)

    def _places(self, pictures: Integers) -> Integers:
        """Of each box's picture among `pictures`."""
        wanted = column(self._pictures, np.int64)
        places = np.searchsorted(pictures, wanted)
        known = np.append(pictures, 0)[places] == wanted
        known &= places < len(pictures)
        if not known.all():
            index = int(np.argmin(known))
            raise DataError(f"{self._place(index)} is of picture {wanted[index]}, which is not among the images")
        return places

    def _labels(self, label_of: Callable[[int, str], int]) -> Integers:
        categories, firsts, inverse = np.unique(
            column(self._categories, np.int64), return_index=True, return_inverse=True
        )
        pairs = zip(categories.tolist(), firsts.tolist(), strict=True)
        return np.array([label_of(category, self._place(first)) for category, first in pairs], np.int64)[inverse]

    def _place(self, index: int) -> str:
        return place_of(index, self._ids[index])


def place_of(index: int, number: object) -> str:
    return f"annotations[{index}]" + (f" (id {number})" if has_id(number) and number != WITHOUT_ID else "")


def has_id(number: object) -> bool:
    return isinstance(number, int) and abs(number) < 1 << 63


def column(values: "array[Any]", dtype: type) -> NDArray[Any]:
    return (
        np.frombuffer(values, np.int8 if dtype is np.bool_ else dtype).astype(dtype) if values else np.zeros(0, dtype)
    )
