"""OpenCV without its chatter: what it and FFmpeg print of a broken file, mbseg says in one line of its own."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WARNINGS_OFF = "-8"  # FFmpeg's AV_LOG_QUIET
CAMERA_SECONDS = "2"  # that Linux waits for a frame of a camera before the read fails; else 10


def quiet_cv2() -> Any:
    """The module cv2, imported when it is first needed and told to log nothing."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", WARNINGS_OFF)
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", CAMERA_SECONDS)
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


@contextmanager
def silent_stderr() -> Iterator[None]:
    """For what C++ prints past every log level: OpenCV warns of each WebM that it opens for writing."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
