"""The boxes of any number of pictures in one of COCO's files, made in little memory."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self, final

from mbseg.files import atomic_file

ALL_BOXES = "detections.json"


@final
class AllBoxes:
    """Takes the files of single pictures one after the other, and numbers pictures and boxes through.

    What waits to be written lies in nameless files in `folder`, which end with the process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = self.boxes = 0
        self._categories: list[Any] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._images: IO[bytes] = self._open.enter_context(TemporaryFile(dir=self.folder))
        self._annotations: IO[bytes] = self._open.enter_context(TemporaryFile(dir=self.folder))
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def add(self, content: bytes) -> None:
        """What `answer_files` writes of one picture's boxes."""
        single = json.loads(content)
        (image,) = single["images"]
        self.pictures += 1
        append(self._images, {**image, "id": self.pictures})
        for box in single["annotations"]:
            self.boxes += 1
            append(self._annotations, {**box, "id": self.boxes, "image_id": self.pictures})
        self._categories = single["categories"]

    def write(self) -> None:
        """Nothing where there is no picture. Raises RunError if the disk refuses."""
        if not self.pictures:
            return
        with atomic_file(self.folder / ALL_BOXES) as file:
            file.write(b'{"images": [')
            move(self._images, file)
            file.write(b'], "annotations": [')
            move(self._annotations, file)
            file.write(b'], "categories": ' + json.dumps(self._categories).encode() + b"}")


def append(file: IO[bytes], entry: dict[str, Any]) -> None:
    file.write((", " if file.tell() else "").encode() + json.dumps(entry).encode())


def move(source: IO[bytes], file: IO[bytes]) -> None:
    source.seek(0)
    shutil.copyfileobj(source, file)
