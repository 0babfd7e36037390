"""Files that drawn frames are written to: a video, a folder of pictures, a single picture."""

import os
import uuid
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.errors import RunError
from mbseg.files import TEMPORARY_SUFFIX, write_atomically
from mbseg.video.opencv import quiet_cv2, silent_stderr
from mbseg.video.sinks import Shown, Sink
from mbseg.video.sources import Frame, Source

UInt8Array = NDArray[np.uint8]
CODECS = {".mp4": "mp4v", ".webm": "VP90", ".avi": "MJPG"}  # what the wheels of OpenCV can write


class Picture(Sink):
    """One picture."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        make_folder(self.path.parent)
        return self

    def write(self, shown: Shown) -> None:
        write_picture(self.path, shown.picture)


class PictureFolder(Sink):
    """Every frame as a picture under its own name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        make_folder(self.path)
        return self

    def write(self, shown: Shown) -> None:
        write_picture(self.path / shown.frame.name, shown.picture)


class Video(Sink):
    """A video of the size that it is opened with; frames of another size are resized to it.

    An odd last row or column is cut off, as the codecs have no room for it. Frames of a live source are written as
    often as keeps step with their capture, since some are dropped and few cameras keep the rate that they claim.
    """

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float, live: bool = False) -> None:
        self.path = path
        self.size = size  # (height, width)
        self.fps = fps
        self.live = live
        self.began: float | None = None  # when the first frame was captured
        self.part = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}{path.suffix}")  # the suffix tells the format
        self.written = 0
        self.writer: Any = None

    def __enter__(self) -> Self:
        cv2 = quiet_cv2()
        make_folder(self.path.parent)
        self._begin()
        height, width = self.size
        code = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        with silent_stderr():
            self.writer = cv2.VideoWriter(str(self.part), cv2.CAP_FFMPEG, code, self.fps, (width, height))
        if not self.writer.isOpened():
            self.part.unlink(missing_ok=True)
            raise RunError(f"cannot write {self.path} of {height} x {width} pixels; name another --output")
        return self

    def write(self, shown: Shown) -> None:
        pixels = shown.picture
        if pixels.shape[:2] != self.size:
            pixels = quiet_cv2().resize(pixels, self.size[::-1])
        for _ in range(self._due(shown.frame)):
            self.writer.write(pixels)
            self.written += 1

    def _due(self, frame: Frame) -> int:
        """How many times to write a frame."""
        if not self.live:
            return 1
        if self.began is None:
            self.began = frame.captured
        return max(0, 1 + round((frame.captured - self.began) * self.fps) - self.written)

    def __exit__(self, kind: type[BaseException] | None, /, *_error: object) -> None:
        """Keeps what was written, unless it ended with an error."""
        try:
            self.writer.release()
            if self.written and kind is None:
                self._finish()
        finally:
            self.part.unlink(missing_ok=True)

    def _begin(self) -> None:
        try:
            self.part.touch()
        except OSError as error:  # of which OpenCV would say nothing
            raise RunError(f"cannot write {self.path}: {error.strerror}") from None

    def _finish(self) -> None:
        readable = count_frames(self.part)  # the writer itself reports no error
        if readable < self.written:
            raise RunError(
                f"{self.path} came out with {readable} of {self.written} frames, so it is not kept; is the disk full?"
            )
        os.replace(self.part, self.path)


def write_picture(path: Path, pixels: UInt8Array) -> None:
    """Raises RunError for a size that the format cannot hold."""
    height, width = pixels.shape[:2]
    try:
        encoded, data = quiet_cv2().imencode(path.suffix, pixels)
    except quiet_cv2().error:
        encoded = False
    if not encoded:
        raise RunError(f"{path}: a picture of {height} x {width} cannot be written as {path.suffix}")
    write_atomically(path, data.tobytes())


def count_frames(path: Path) -> int:
    capture = quiet_cv2().VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def make_sink(output: Path, source: Source, *, overwrite: bool) -> Sink:
    """The sink for an output of this name. Nothing is made before it is opened.

    Raises RunError for what exists already (unless `overwrite`), is the source itself, or has a suffix that cannot be
    written.
    """
    output = output.resolve()  # `missing/../a.mp4` is a.mp4 once the folder is made
    sink = sink_for(output, source)
    check_free(output, source, overwrite=overwrite)
    return sink


def make_folder(folder: Path) -> None:
    """With all folders on the way. Raises RunError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {folder} cannot be made: {error.strerror}") from None


def sink_for(output: Path, source: Source) -> Sink:
    suffix = output.suffix.lower()
    if output.is_dir() or not suffix:
        return PictureFolder(output)
    if suffix in CODECS:
        return Video(output, size=source.size, fps=source.fps, live=source.live)
    if suffix not in IMAGE_SUFFIXES:
        raise RunError(
            f"--output {output}: {suffix} cannot be written; name a video ({', '.join(CODECS)}), a picture "
            f"({', '.join(IMAGE_SUFFIXES)}) or a folder (no suffix)"
        )
    if source.length != 1:
        raise RunError(f"--output {output} is one picture, the source is not; name a video or a folder")
    return Picture(output)


def check_free(output: Path, source: Source, *, overwrite: bool) -> None:
    if any(is_same(file, *written_paths(output, file)) for file in source.files):
        raise RunError(f"--output {output} would replace the source itself; name another")
    taken = any(output.iterdir()) if output.is_dir() else output.exists()
    if taken and not overwrite:
        raise RunError(f"--output {output} is there already; add --overwrite to replace it, or name another")


def written_paths(output: Path, file: Path) -> tuple[Path, ...]:
    """Where what is drawn of a file may come to lie: below an output folder, under its own name."""
    return (output, output / file.name)


def is_same(path: Path, *others: Path) -> bool:
    return path.exists() and any(other.exists() and other.samefile(path) for other in others)
