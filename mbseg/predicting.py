"""A model's answers for pictures, as files: class maps as palette PNGs, boxes as COCO's JSON."""

import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mbseg.boxes.detections import Detections
from mbseg.data.labels import Colour
from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.data.reading import read_image
from mbseg.data.samples import UInt8Array
from mbseg.errors import DataError, RunError
from mbseg.files import write_atomically
from mbseg.runtime.answers import Answer, FramePredictor
from mbseg.video.names import Names
from mbseg.video.outputs import make_folder
from mbseg.video.pictures import pictures_in

logger = logging.getLogger(__name__)

ALL_BOXES = "detections.json"  # those of all pictures in one file
Entry = dict[str, Any]


class Written(NamedTuple):
    """What became of one picture."""

    picture: str
    files: tuple[str, ...]  # names in the output folder
    found: str  # in words


class Writer:
    """Puts answers into a folder, which is made if need be, under the pictures' names."""

    def __init__(self, folder: Path, mask: Names | None, boxes: Names | None) -> None:
        self.folder = folder
        self.mask = mask  # of class maps
        self.objects = boxes.classes if boxes else ()
        self.images: list[Entry] = []
        self.annotations: list[Entry] = []

    def write(self, picture: Path, image: UInt8Array, answer: Answer) -> Written:
        """Raises RunError if the folder cannot be made."""
        make_folder(self.folder)
        files, found = [], []
        if answer.mask is not None and self.mask is not None:
            files.append(f"{picture.stem}.png")
            write_atomically(self.folder / files[-1], palette_png(answer.mask, self.mask.palette))
            found.append(mask_text(answer.mask, self.mask.classes))
        if answer.detections is not None:
            files.append(f"{picture.stem}.json")
            write_atomically(self.folder / files[-1], self._boxes_of(picture, image, answer.detections))
            found.append(boxes_text(answer.detections, self.objects))
        return Written(picture.name, tuple(files), "; ".join(found))

    def finish(self) -> None:
        """All boxes once more in one file."""
        if self.images:
            write_atomically(self.folder / ALL_BOXES, self._coco(self.images, self.annotations))

    def _boxes_of(self, picture: Path, image: UInt8Array, found: Detections) -> bytes:
        height, width = image.shape[:2]
        entry = {"id": len(self.images) + 1, "file_name": picture.name, "height": height, "width": width}
        boxes = [
            {"id": len(self.annotations) + number, "image_id": entry["id"], **one}
            for number, one in enumerate(box_entries(found), start=1)
        ]
        self.images.append(entry)
        self.annotations += boxes
        return self._coco([entry], boxes)

    def _coco(self, images: Sequence[Entry], boxes: Sequence[Entry]) -> bytes:
        categories = [{"id": number, "name": name} for number, name in enumerate(self.objects, start=1)]
        return json.dumps({"images": images, "annotations": boxes, "categories": categories}).encode()


def predict(predictor: FramePredictor, pictures: Sequence[Path], writer: Writer) -> Iterator[Written]:
    """What becomes of each picture in turn. Raises DataError for those that cannot be read, when all else is done."""
    faulty = []
    for picture in pictures:
        try:
            image = read_image(picture)
        except DataError as error:
            logger.warning("%s; it is left out", error)
            faulty.append(picture.name)
            continue
        yield writer.write(picture, image, predictor(image))
    writer.finish()
    if faulty:
        raise DataError(f"{len(faulty)} of {len(pictures)} pictures cannot be read: {', '.join(faulty[:5])}")


def find_pictures(source: Path) -> list[Path]:
    """The pictures of a folder, 9 before 10, or the one that is named. Raises DataError where there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: there is no such file or folder")
    pictures = pictures_in(source)
    if not pictures:
        raise DataError(f"{source}: there is no picture in it ({', '.join(IMAGE_SUFFIXES)})")
    return pictures


def check_output(output: Path, pictures: Sequence[Path], *, overwrite: bool) -> None:
    """Before any long work. Raises DataError for pictures whose answers would have one name, RunError for a folder that
    is there already (unless `overwrite`), or holds the pictures themselves.
    """
    names = Counter([*(picture.stem for picture in pictures), Path(ALL_BOXES).stem])
    if twice := [name for name, count in names.items() if count > 1]:
        raise DataError(f"two answers would be called {twice[0]} ({ALL_BOXES} holds all boxes); rename a picture")
    if output.exists() and not output.is_dir():
        raise RunError(f"{output} is a file; name a folder for the answers")
    if output.is_dir() and output.samefile(pictures[0].parent):
        raise RunError(f"{output} holds the pictures themselves, which answers could replace; name another folder")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise RunError(f"{output} is there already; add --overwrite to replace what is in it, or name another")


def palette_png(mask: UInt8Array, palette: Sequence[Colour]) -> bytes:
    """A class map [H, W] as a PNG whose pixels are class ids, drawn in the palette's colours."""
    image = Image.fromarray(mask)
    image.putpalette(np.array(palette, np.uint8).tobytes())
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def box_entries(found: Detections) -> Iterator[Entry]:
    """COCO's annotations of one picture; category ids count from 1, in the order of the file's own categories."""
    for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        left, top, right, bottom = box
        sides = [left, top, right - left, bottom - top]
        yield {"category_id": label + 1, "bbox": sides, "area": sides[2] * sides[3], "score": score, "iscrowd": 0}


def mask_text(mask: UInt8Array, classes: Sequence[str]) -> str:
    """The classes by their share of the picture, the largest first."""
    shares = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
    order = np.argsort(-shares, kind="stable")
    return ", ".join(f"{classes[label]} {shares[label]:.1%}" for label in order if shares[label])


def boxes_text(found: Detections, classes: Sequence[str]) -> str:
    """How many boxes there are of each class."""
    counts = Counter(classes[label] for label in found.labels.tolist())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing found"
