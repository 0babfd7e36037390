"""What `--source` names: a camera, a stream, a video, a picture, a folder of pictures."""

from pathlib import Path

from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.errors import ConfigError, DataError
from mbseg.video.frames import Frame, Source
from mbseg.video.live import as_live
from mbseg.video.pictures import open_pictures, pictures_in
from mbseg.video.reconnect import Patience
from mbseg.video.streams import open_camera, open_stream
from mbseg.video.videos import open_video

__all__ = ["Frame", "Patience", "Source", "as_live", "open_source"]

LAST_CAMERA = 99
USUAL_PATIENCE = Patience()


def open_source(text: str, patience: Patience = USUAL_PATIENCE) -> Source:
    """The source that `text` names: a camera's number, a stream's address, a video, a picture, a folder of pictures.

    One frame has been read when it returns. Raises ConfigError for a camera's number that cannot be, DataError for what
    is not there or gives no frame.
    """
    if text.isdecimal():
        if int(text) > LAST_CAMERA:
            raise ConfigError(f"--source {text}: cameras are numbered from 0 to {LAST_CAMERA}")
        return open_camera(int(text), patience)
    if "://" in text:
        return open_stream(text, patience)
    if (path := Path(text)).is_dir():
        return open_pictures(path, pictures_in(path))
    if not path.is_file():
        raise DataError(f"--source {text}: there is no such file or folder (a camera is named by its number, 0, 1 ...)")
    return open_pictures(path, [path]) if path.suffix.lower() in IMAGE_SUFFIXES else open_video(path)
