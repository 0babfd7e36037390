"""A model's answers for pictures, as files: class maps as palette PNGs, boxes as COCO's JSON."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mbseg.data.reading import read_image
from mbseg.engine.lock import locked
from mbseg.errors import DataError, RunError
from mbseg.files import TEMPORARY_SUFFIX, write_atomically
from mbseg.prediction.all_boxes import ALL_BOXES, AllBoxes
from mbseg.prediction.answer_files import BOXES_SUFFIX, AnswerFiles, answer_files, stem_of
from mbseg.prediction.picture_list import PictureList, files_below
from mbseg.runtime.answers import FramePredictor
from mbseg.video.names import Names
from mbseg.video.outputs import make_folder

logger = logging.getLogger(__name__)


class Answerer(NamedTuple):
    """A predictor, and what its class maps and boxes mean."""

    predictor: FramePredictor
    mask: Names | None
    boxes: Names | None

    def __call__(self, folder: Path, picture: str) -> AnswerFiles:
        """Raises DataError for a picture that cannot be read."""
        image = read_image(folder / picture, upright=True)
        return answer_files(picture, image, self.predictor(image), self.mask, self.boxes)


class Written(NamedTuple):
    """What became of one picture."""

    picture: str
    files: tuple[str, ...]  # names in the output folder
    found: str  # in words


def predict(answerer: Answerer, pictures: PictureList, output: Path) -> Iterator[Written]:
    """What becomes of each picture in turn.

    Raises RunError for an output that another process writes to, and DataError for pictures that cannot be read, when
    all else is done.
    """
    faulty = []
    make_folder(output)
    with locked(output), AllBoxes(output) as all_boxes:
        sweep(output, recursive=pictures.recursive)
        for picture in pictures.names:
            try:
                contents, found = answerer(pictures.folder, picture)
            except DataError as error:
                logger.warning("%s; it is left out", error)
                faulty.append(picture)
                continue
            write_answers(output, contents)
            if boxes := contents.get(stem_of(picture) + BOXES_SUFFIX):
                all_boxes.add(boxes)
            yield Written(picture, tuple(contents), found)
        all_boxes.write()
    if faulty:
        raise left_out(faulty, len(pictures.names))


def write_answers(output: Path, contents: Mapping[str, bytes]) -> None:
    """Raises RunError where a folder cannot be made, or the disk refuses."""
    for name, data in contents.items():
        make_folder((output / name).parent)
        write_atomically(output / name, data)


def sweep(output: Path, *, recursive: bool) -> None:
    """Removes what killed processes left half-written."""
    for name in files_below(output, recursive=recursive):
        if name.endswith(TEMPORARY_SUFFIX):
            (output / name).unlink(missing_ok=True)


def left_out(faulty: Sequence[str], pictures: int) -> DataError:
    """What is told at the end."""
    return DataError(f"{len(faulty)} of {pictures} pictures cannot be read: {', '.join(faulty[:5])}")


def check_output(output: Path, pictures: PictureList, *, overwrite: bool) -> None:
    """Before any long work. Raises RunError for a folder that holds something, unless `overwrite`: see `check_place`"""
    check_place(output, pictures)
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise RunError(f"{output} is there already; add --overwrite to replace what is in it, or name another")


def check_place(output: Path, pictures: PictureList) -> None:
    """Raises DataError for pictures whose answers would have one name, RunError for a folder among the pictures."""
    names = Counter([*map(stem_of, pictures.names), stem_of(ALL_BOXES)])
    if twice := [name for name, count in names.items() if count > 1]:
        raise DataError(f"two answers would be called {twice[0]} ({ALL_BOXES} holds all boxes); rename a picture")
    if output.exists() and not output.is_dir():
        raise RunError(f"{output} is a file; name a folder for the answers")
    source, place = pictures.folder.resolve(), output.resolve()
    if place == source or (pictures.recursive and source in place.parents):
        raise RunError(f"{output} holds the pictures themselves, which answers could replace; name another folder")
