"""COCO's JSON, the official files and anyone's own: pictures, categories and boxes, every entry judged.

A category's label is its place among the classes, so that gaps in COCO's ids leave none in the labels.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mbseg.data.detection_samples import AnnotatedSplit, Annotation
from mbseg.errors import DataError

MAX_BYTES = 4 << 30  # the largest file of COCO has 0.5 GB
MAX_SIDE = 1 << 16  # pixels of a picture
LONGEST_NAME = 1024  # characters of a picture's path

Entry = Mapping[str, Any]


class Picture(NamedTuple):
    """One entry of `images`."""

    number: int
    name: str
    height: int
    width: int


class Box(NamedTuple):
    """One entry of `annotations`."""

    image_id: int
    label: int
    box: list[float]  # x, y, width, height
    area: float
    crowd: bool


def read_coco(file: Path, folders: Sequence[Path], classes: Sequence[str] | None = None) -> AnnotatedSplit:
    """Read a file whose pictures lie in the first of `folders` that holds one of them, in the order of their ids.

    `classes` None: its categories in the order of their ids. Raises DataError, naming the file and the entry, for what
    is missing, of a wrong type, or refers to nothing.
    """
    tree = _read(file)
    try:
        names = _categories(_entries(tree, "categories"))
        classes = tuple(classes or names.values())
        pictures = _pictures(_entries(tree, "images"))
        boxes = _boxes(_entries(tree, "annotations"), set(pictures), Labels(names, classes))
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    ids = {name: number for number, name in names.items()}
    folder = _folder(folders, pictures.values())
    found = [_annotation(file, folder, pictures[number], boxes.get(number, [])) for number in sorted(pictures)]
    return AnnotatedSplit(classes, tuple(ids.get(name) for name in classes), found)


def _read(file: Path) -> Entry:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(f"{file}: more than {MAX_BYTES >> 30} GB; split it into smaller files")
        tree = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(tree, dict):
        raise DataError(f"{file}: expected an object with images, annotations and categories, not {_told(tree)}")
    return tree


def _entries(tree: Entry, key: str) -> list[Entry]:
    entries = tree.get(key)
    if not isinstance(entries, list):
        raise DataError(f"{key!r} is {_told(entries) if key in tree else 'missing'}; a list is expected")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{key}[{index}] is {_told(entry)}; an object is expected")
    return entries


def _categories(entries: list[Entry]) -> dict[int, str]:
    """Names by id, in the order of the ids."""
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        place = f"categories[{index}]"
        number, name = _integer(entry, "id", place), _string(entry, "name", place)
        if number in names or name in names.values():
            raise DataError(f"{place} has the id or the name of another one: {number}, {name!r}")
        names[number] = name
    if not names:
        raise DataError("'categories' is empty: there is nothing to detect")
    return dict(sorted(names.items()))


def _pictures(entries: list[Entry]) -> dict[int, Picture]:
    pictures: dict[int, Picture] = {}
    for index, entry in enumerate(entries):
        place = f"images[{index}]"
        number = _integer(entry, "id", place)
        if number in pictures:
            raise DataError(f"{place} has the id of another picture: {number}")
        height, width = (_integer(entry, key, place) for key in ("height", "width"))
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise DataError(f"{place} (id {number}) is {height} x {width}; sides are 1 to {MAX_SIDE} pixels")
        pictures[number] = Picture(number, _file_name(entry, place), height, width)
    return pictures


class Labels:
    """From COCO's category ids to labels."""

    def __init__(self, names: Mapping[int, str], classes: Sequence[str]) -> None:
        self.names = names
        self.classes = classes
        places = {name: label for label, name in enumerate(classes)}
        self.labels = {number: places[name] for number, name in names.items() if name in places}

    def of(self, number: int, place: str) -> int:
        """Raises DataError for a category that the file or the classes lack."""
        if number in self.labels:
            return self.labels[number]
        if number not in self.names:
            raise DataError(f"{place} is of category {number}, which is not among the categories")
        name = self.names[number]
        nearest = get_close_matches(name, self.classes, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise DataError(f"{place} is of category {name!r}, which is none of the {len(self.classes)} classes{hint}")


def _boxes(entries: list[Entry], pictures: set[int], labels: Labels) -> dict[int, list[Box]]:
    """The boxes of each picture, in the order of the file."""
    boxes: dict[int, list[Box]] = {}
    for index, entry in enumerate(entries):
        place = f"annotations[{index}] (id {entry.get('id')})"
        box = _box(entry, place, labels)
        if box.image_id not in pictures:
            raise DataError(f"{place} is of picture {box.image_id}, which is not among the images")
        boxes.setdefault(box.image_id, []).append(box)
    return boxes


def _box(entry: Entry, place: str, labels: Labels) -> Box:
    label = labels.of(_integer(entry, "category_id", place), place)
    numbers = entry.get("bbox")
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise DataError(f"{place}: bbox is {_told(numbers)}; expected [x, y, width, height]")
    box = [_number(number, "bbox", place) for number in numbers]
    area = _number(entry["area"], "area", place) if "area" in entry else box[2] * box[3]
    if not 0 <= area < math.inf and "area" in entry:
        raise DataError(f"{place}: area is {area:g}; a number of pixels is expected")
    crowd = entry.get("iscrowd") or 0
    if crowd not in (0, 1):
        raise DataError(f"{place}: iscrowd is {_told(crowd)}; 0 or 1 is expected")
    return Box(_integer(entry, "image_id", place), label, box, area, bool(crowd))


def _integer(entry: Entry, key: str, place: str) -> int:
    number = entry.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= 1 << 63:
        raise DataError(f"{place}: {key} is {_told(number)}; a whole number is expected")
    return number


def _string(entry: Entry, key: str, place: str) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or not text:
        raise DataError(f"{place}: {key} is {_told(text)}; a text is expected")
    return text


def _file_name(entry: Entry, place: str) -> str:
    """Of a file below the folder of the pictures, and nowhere else."""
    name = _string(entry, "file_name", place)
    if len(name) > LONGEST_NAME or not name.isprintable() or Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{place}: file_name is {_told(name)}; a path below the folder of the pictures is expected")
    return name


def _number(number: object, key: str, place: str) -> float:
    """Faulty numbers such as NaN pass: what is wrong with a box is told with all others by `check_boxes`."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise DataError(f"{place}: {key} holds {_told(number)}; a number is expected")
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _folder(folders: Sequence[Path], pictures: Iterable[Picture]) -> Path:
    """Files are few to look up where the pictures are all there; where none is, the first folder will be named."""
    for picture in pictures:
        for folder in folders:
            if (folder / picture.name).is_file():
                return folder
    return folders[0]


def _told(value: object) -> str:
    """A short text of any JSON value."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _annotation(file: Path, folder: Path, picture: Picture, boxes: list[Box]) -> Annotation:
    return Annotation(
        file=file,
        image=folder / picture.name,
        image_id=picture.number,
        size=(picture.height, picture.width),
        boxes=np.array([item.box for item in boxes], np.float64).reshape(-1, 4),
        labels=np.array([item.label for item in boxes], np.int64),
        areas=np.array([item.area for item in boxes], np.float64),
        difficult=np.zeros(len(boxes), np.bool_),
        crowd=np.array([item.crowd for item in boxes], np.bool_),
    )
