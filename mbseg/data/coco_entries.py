"""What stands in the entries of COCO's JSON. Each function raises DataError, naming the place, for another type."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbseg.errors import DataError
from mbseg.naming import is_one_line

LONGEST_NAME = 1024  # characters of a picture's path
SHOWN = 40  # characters of a value in an error

Entry = Mapping[str, Any]


def integer(entry: Entry, key: str, place: str) -> int:
    number = entry.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= 1 << 63:
        raise DataError(f"{place}: {key} is {told(number)}; a whole number is expected")
    return number


def text(entry: Entry, key: str, place: str) -> str:
    """Of one line."""
    found = entry.get(key)
    if not isinstance(found, str) or not found or not is_one_line(found):
        raise DataError(f"{place}: {key} is {told(found)}; a text is expected")
    return found


def file_name(entry: Entry, place: str) -> str:
    """Of a file below the folder of the pictures, and nowhere else."""
    name = text(entry, "file_name", place)
    if len(name) > LONGEST_NAME or Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{place}: file_name is {told(name)}; a path below the folder of the pictures is expected")
    return name


def number(value: object, key: str, place: str) -> float:
    """Faulty numbers such as NaN pass: what is wrong with a box is told with all others by `check_boxes`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{place}: {key} holds {told(value)}; a number is expected")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def told(value: object) -> str:
    """A short text of any JSON value."""
    try:
        found = json.dumps(value)
    except RecursionError:
        found = "lists in lists"
    return found if len(found) <= SHOWN else f"{found[: SHOWN - 3]}..."
