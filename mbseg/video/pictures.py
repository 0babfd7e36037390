"""Pictures: one, or a folder of them in the order of their names."""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from time import perf_counter

from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.data.reading import read_image
from mbseg.errors import DataError
from mbseg.video.frames import USUAL_FPS, Frame, Source, UInt8Array
from mbseg.video.opencv import quiet_cv2

logger = logging.getLogger(__name__)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, 9 before 10."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=lambda file: natural_order(file.name))


def natural_order(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def open_pictures(path: Path, files: Sequence[Path]) -> Source:
    """Raises DataError if none of them can be read."""
    first = next((pixels for file in files if (pixels := read_picture(file)) is not None), None)
    if first is None:
        raise DataError(f"--source {path}: there is no picture that can be read")
    over, (height, width) = Event(), first.shape[:2]
    frames = picture_frames(files, over)
    return Source(frames, (height, width), USUAL_FPS, len(files), tuple(files), end=over.set)


def picture_frames(files: Sequence[Path], over: Event) -> Iterator[Frame]:
    for file in files:
        if over.is_set():
            return
        if (pixels := read_picture(file)) is not None:
            yield Frame(file.name, pixels, perf_counter())


def read_picture(file: Path) -> UInt8Array | None:
    """[H, W, 3] BGR, upright as `predict` takes it; None, and a warning, for what cannot be read."""
    try:
        image = read_image(file, upright=True)
    except DataError as error:
        logger.warning("%s; it is left out", error)
        return None
    pixels: UInt8Array = quiet_cv2().cvtColor(image, quiet_cv2().COLOR_RGB2BGR)
    return pixels
