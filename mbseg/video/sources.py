"""Where frames come from: a camera, a video, a picture, a folder of pictures."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.errors import ConfigError, DataError
from mbseg.video.opencv import quiet_cv2

logger = logging.getLogger(__name__)

UInt8Array = NDArray[np.uint8]
LAST_CAMERA = 99
LARGEST_PICTURE = 2**27  # pixels
USUAL_FPS, HIGHEST_FPS = 25.0, 240.0
PATIENCE = 30  # failed reads in a row that are the end of a video; fewer are broken frames


class Frame(NamedTuple):
    """One picture of a stream."""

    name: str  # of the file that it would be among pictures
    pixels: UInt8Array  # [H, W, 3] BGR


@dataclass(frozen=True)
class Source:
    """Frames to come, and what is known of them before the first is asked for."""

    frames: Iterator[Frame]
    size: tuple[int, int]  # (height, width) of the first; a later one may have another
    fps: float
    length: int | None  # None: nobody knows
    files: tuple[Path, ...]  # that it reads; none of a camera


def open_source(text: str) -> Source:
    """The source that `text` names: the number of a camera, a video, a picture, or a folder of pictures.

    One frame has been read when it returns. Raises ConfigError for a stream's address, DataError for what is not there
    or gives no frame.
    """
    if text.isdecimal():
        if int(text) > LAST_CAMERA:
            raise ConfigError(f"--source {text}: cameras are numbered from 0 to {LAST_CAMERA}")
        return open_camera(int(text))
    if "://" in text:
        raise ConfigError(f"--source {text}: streams cannot be read; name a camera's number, a file or a folder")
    if (path := Path(text)).is_dir():
        return open_pictures(path, pictures_in(path))
    if not path.is_file():
        raise DataError(f"--source {text}: there is no such file or folder (a camera is named by its number, 0, 1 ...)")
    return open_pictures(path, [path]) if path.suffix.lower() in IMAGE_SUFFIXES else open_video(path)


def open_camera(index: int) -> Source:
    """Raises DataError if it gives no frame."""
    cv2 = quiet_cv2()
    capture = cv2.VideoCapture(index)
    read, pixels = capture.read()
    if not read:
        capture.release()
        raise DataError(f"camera {index} gives no picture; is it attached, free, and yours to read?")
    fps = sensible_fps(capture.get(cv2.CAP_PROP_FPS))
    return Source(captured(capture, patience=1), pixels.shape[:2], fps, length=None, files=())


def open_video(path: Path) -> Source:
    """Raises DataError if no frame of it can be read."""
    cv2 = quiet_cv2()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    first = next(captured(capture), None)
    if first is None:
        raise DataError(f"--source {path}: no frame of it can be read as a video")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)  # from the start again
    fps, count = sensible_fps(capture.get(cv2.CAP_PROP_FPS)), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    length = count if count > 0 else None  # a raw stream claims a negative number
    return Source(video_frames(path, capture, length), first.pixels.shape[:2], fps, length, (path,))


def sensible_fps(claimed: float) -> float:
    """Frames a second as the source claims, or the usual ones for nonsense (0, NaN, 90000)."""
    return claimed if 0 < claimed <= HIGHEST_FPS else USUAL_FPS


def video_frames(path: Path, capture: Any, length: int | None) -> Iterator[Frame]:
    """All frames that can be read; says at the end how many could not."""
    number = 0
    for frame in captured(capture):
        yield frame
        number += 1
    if length is not None and number < length - 1:  # a container without an index gives an estimate, one beside
        logger.warning("%s: %d of %d frames cannot be read; it is damaged or cut short", path, length - number, length)


def captured(capture: Any, *, patience: int = PATIENCE) -> Iterator[Frame]:
    """Frames until `patience` reads in a row have failed; the capture is closed behind the last one."""
    number = failures = 0
    try:
        while failures < patience:
            read, pixels = capture.read()
            failures = 0 if read else failures + 1
            if read:
                yield Frame(f"{number:06d}.jpg", pixels)
                number += 1
    finally:
        capture.release()


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
    return Source(picture_frames(files), (first.shape[0], first.shape[1]), USUAL_FPS, len(files), tuple(files))


def picture_frames(files: Sequence[Path]) -> Iterator[Frame]:
    for file in files:
        if (pixels := read_picture(file)) is None:
            logger.warning("%s cannot be read as a picture; it is left out", file)
        else:
            yield Frame(file.name, pixels)


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
