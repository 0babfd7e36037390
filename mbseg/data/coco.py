"""COCO's JSON, the official files and anyone's own: pictures, categories and boxes, every entry judged.

A category's label is its place among the classes, so that gaps in COCO's ids leave none in the labels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbseg.data.coco_boxes import Boxes, PictureBoxes
from mbseg.data.coco_entries import Entry, file_name, integer, text, told
from mbseg.data.detection_samples import AnnotatedSplit, Annotation
from mbseg.data.json_stream import JsonStream
from mbseg.errors import DataError
from mbseg.files import is_file, size_of
from mbseg.naming import MOST_CLASSES

MAX_BYTES = 2 << 30  # the largest file of COCO has 0.5 GB
MAX_SIDE = 1 << 16  # pixels of a picture
MOST_UNREAD = 1_000_000  # entries of a list of another name


class Picture(NamedTuple):
    """One entry of `images`."""

    number: int
    name: str
    height: int
    width: int


def read_coco(file: Path, folders: Sequence[Path], classes: Sequence[str] | None = None) -> AnnotatedSplit:
    """Read a file whose pictures lie in the first of `folders` that holds one of them, in the order of their ids.

    `classes` None: its categories in the order of their ids. Raises DataError, naming the file and the entry, for what
    is missing, of a wrong type, or refers to nothing.
    """
    contents = _read(file)
    try:
        names = contents.names()
        classes = tuple(classes or names.values())
        pictures = dict(sorted(contents.pictures.items()))
        boxes = contents.boxes.by_picture(list(pictures), Labels(names, classes).of)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    ids = {name: number for number, name in names.items()}
    folder = _folder(folders, contents.pictures.values())
    found = [_annotation(file, folder, *both) for both in zip(pictures.values(), boxes, strict=True)]
    return AnnotatedSplit(classes, tuple(ids.get(name) for name in classes), found)


def _read(file: Path) -> "Contents":
    contents = Contents()
    try:
        if size_of(file) > MAX_BYTES:
            raise DataError(f"{file}: more than {MAX_BYTES >> 30} GB; split it into smaller files")
        with JsonStream(file) as stream:
            contents.read(stream)
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no such file") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read as JSON ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{file}: cannot be read as JSON ({error})") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return contents


class Contents:
    """The three lists of a file, judged entry by entry as they come; their order in the file is free."""

    def __init__(self) -> None:
        self.categories: dict[int, str] = {}
        self._names: set[str] = set()
        self.pictures: dict[int, Picture] = {}
        self.boxes = Boxes()

    def read(self, stream: JsonStream) -> None:
        """Raises DataError for a faulty entry and for a list that is missing, ValueError for what is no JSON."""
        readers = {"images": self.add_picture, "annotations": self.boxes.add, "categories": self.add_category}
        missing = list(readers)
        if stream.peek() != "{":
            found = told(stream.value())
            raise DataError(f"expected an object with images, annotations and categories, not {found}")
        for key in stream.members():
            if key in readers:
                if key not in missing:
                    raise DataError(f"{key!r} stands there twice; join both lists")
                missing.remove(key)
                _read_list(stream, key, readers[key])
            else:
                _pass_over(stream, key)
        stream.finish()
        if missing:
            raise DataError(f"{missing[0]!r} is missing; a list is expected")

    def names(self) -> dict[int, str]:
        """Of the categories by id, in the order of the ids."""
        if not self.categories:
            raise DataError("'categories' is empty: there is nothing to detect")
        return dict(sorted(self.categories.items()))

    def add_category(self, index: int, entry: Entry) -> None:
        place = f"categories[{index}]"
        number, name = integer(entry, "id", place), text(entry, "name", place)
        if number in self.categories or name in self._names:
            raise DataError(f"{place} has the id or the name of another one: {number}, {name!r}")
        if len(self.categories) == MOST_CLASSES:
            raise DataError(f"{place} is one more than the {MOST_CLASSES} categories that are read")
        self.categories[number] = name
        self._names.add(name)

    def add_picture(self, index: int, entry: Entry) -> None:
        place = f"images[{index}]"
        number = integer(entry, "id", place)
        if number in self.pictures:
            raise DataError(f"{place} has the id of another picture: {number}")
        height, width = (integer(entry, key, place) for key in ("height", "width"))
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise DataError(f"{place} (id {number}) is {height} x {width}; sides are 1 to {MAX_SIDE} pixels")
        self.pictures[number] = Picture(number, file_name(entry, place), height, width)


def _read_list(stream: JsonStream, key: str, reader: Callable[[int, Entry], None]) -> None:
    if stream.peek() != "[":
        raise DataError(f"{key!r} is {told(stream.value())}; a list is expected")
    for index, entry in enumerate(stream.elements()):
        if not isinstance(entry, dict):
            raise DataError(f"{key}[{index}] is {told(entry)}; an object is expected")
        reader(index, entry)


def _pass_over(stream: JsonStream, key: str) -> None:
    if stream.peek() != "[":
        stream.value()
        return
    for index, _ in enumerate(stream.elements()):
        if index == MOST_UNREAD:
            raise DataError(f"{told(key)} has more than {MOST_UNREAD} entries, which nothing here reads; leave it away")


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


def _folder(folders: Sequence[Path], pictures: Iterable[Picture]) -> Path:
    """Files are few to look up where the pictures are all there; where none is, the first folder will be named."""
    for picture in pictures:
        for folder in folders:
            if is_file(folder / picture.name):
                return folder
    return folders[0]


def _annotation(file: Path, folder: Path, picture: Picture, boxes: PictureBoxes) -> Annotation:
    return Annotation(
        file=file,
        image=folder / picture.name,
        image_id=picture.number,
        size=(picture.height, picture.width),
        boxes=boxes.boxes,
        labels=boxes.labels,
        areas=boxes.areas,
        difficult=np.zeros(len(boxes.labels), np.bool_),
        crowd=boxes.crowd,
    )
