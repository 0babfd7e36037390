"""Pictures: one, or a folder of them in the order of their names."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from time import perf_counter

from PIL import Image

from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.errors import DataError
from mbseg.video.frames import USUAL_FPS, Frame, Source, UInt8Array
from mbseg.video.opencv import quiet_cv2

logger = logging.getLogger(__name__)

LARGEST_PICTURE = 2**27  # pixels


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
        if (pixels := read_picture(file)) is None:
            logger.warning("%s cannot be read as a picture; it is left out", file)
        else:
            yield Frame(file.name, pixels, perf_counter())


def read_picture(file: Path) -> UInt8Array | None:
    """[H, W, 3] BGR, turned as its EXIF says; None for what cannot be read."""
    cv2 = quiet_cv2()
    if pixels_promised(file) > LARGEST_PICTURE:
        return None
    try:
        pixels: UInt8Array | None = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return pixels


def pixels_promised(file: Path) -> int:
    """By its header, before anything is decoded: a small file can hold a giant picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as picture:
                return picture.width * picture.height
        except Image.DecompressionBombError:
            return LARGEST_PICTURE + 1
        except Exception:  # PIL knows other formats than OpenCV, and stumbles over much; OpenCV decides
            return 0
