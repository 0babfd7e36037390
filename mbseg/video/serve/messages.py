"""What the server and its page say to one another.

| from | message | holds |
|---|---|---|
| server | text | JSON: `hello` (what there is to see, and how), once; `error` (one line) whenever something was wrong |
| server | bytes | an answer: uint32 length of its head; the head, JSON; a JPEG, if the page needs one; runs |
| page | text | "next": one more frame of the source, please |
| page | bytes | a frame of the visitor's camera: uint32 number, and a JPEG |

Numbers are little-endian. Runs are a class map row by row, as where each stretch of one class ends (uint32 each), and
then as their classes (uint8 each): 0.1 ms for 640 x 480 pixels where a PNG takes 2, and as quickly read.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.errors import MbsegError
from mbseg.runtime.answers import Answer
from mbseg.video.names import Names
from mbseg.video.opencv import quiet_cv2
from mbseg.video.overlay import UInt8Array

NEXT = "next"
NUMBER = struct.Struct("<I")
LARGEST_MESSAGE = 2**21  # bytes
LARGEST_FRAME = 2**22  # pixels, of a visitor's camera
JPEG_QUALITY = 80
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
BASELINE = (0xC0, 0xC1)  # what browsers make; a few kB of a progressive JPEG can keep a decoder busy for minutes


class VisitorError(MbsegError):
    """What a visitor sent cannot be used; the visitor is told so, nobody else is disturbed."""


@dataclass(frozen=True)
class Encoded:
    """An answer on its way to a page."""

    size: Size  # (height, width) of the frame
    picture: bytes  # JPEG, or empty
    runs: bytes
    boxes: list[list[float]] | None  # left, top, right, bottom, score, label

    def message(self, about: Mapping[str, Any]) -> bytes:
        """Bytes for the page, with what else its head is to say."""
        head = {**about, "size": self.size, "picture": len(self.picture), "boxes": self.boxes}
        text = json.dumps(head).encode()
        return b"".join((NUMBER.pack(len(text)), text, self.picture, self.runs))


def hello(
    title: str, description: str, *, has_source: bool, mask: Names | None, boxes: Names | None, opacity: float
) -> dict[str, Any]:
    about = {"title": title, "description": description, "has_source": has_source, "opacity": opacity}
    return {"hello": {**about, "classes": legend(mask, boxes)}}


def legend(mask: Names | None, boxes: Names | None) -> list[dict[str, Any]]:
    """One line a name: its colour, and its class id in the class map and among the boxes, where it has one."""
    lines: dict[str, dict[str, Any]] = {}
    for kind, names in (("mask", mask), ("box", boxes)):
        if names is not None:
            for label, (name, colour) in enumerate(zip(names.classes, names.palette, strict=True)):
                lines.setdefault(name, {"name": name, "colour": colour, "mask": None, "box": None})[kind] = label
    return list(lines.values())


def encode(answer: Answer, size: Size, frame: UInt8Array | None = None) -> Encoded:
    """An answer to a frame [H, W, 3] BGR of that size; None: the page has it."""
    picture = b"" if frame is None else as_jpeg(frame)
    runs = b"" if answer.mask is None else as_runs(answer.mask)
    return Encoded(size, picture, runs, None if answer.detections is None else as_rows(answer.detections))


def as_jpeg(frame: UInt8Array) -> bytes:
    cv2 = quiet_cv2()
    data: UInt8Array = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return data.tobytes()


def as_runs(mask: UInt8Array) -> bytes:
    flat = mask.ravel()
    ends: NDArray[np.uint32] = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size).astype("<u4")
    return ends.tobytes() + flat[ends - 1].tobytes()


def as_rows(found: Detections) -> list[list[float]]:
    table = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return [[*(round(edge, 1) for edge in box), round(score, 3), label] for box, score, label in table]


def read_frame(message: bytes) -> tuple[int, UInt8Array]:
    """Number and picture [H, W, 3] RGB of a visitor's frame. Raises VisitorError."""
    if len(message) < NUMBER.size:
        raise VisitorError(f"a frame of {len(message)} bytes; send its number (uint32) and a JPEG")
    (number,) = NUMBER.unpack_from(message)
    data = message[NUMBER.size :]
    height, width = jpeg_size(data)
    if not 0 < height * width <= LARGEST_FRAME:
        raise VisitorError(f"a frame of {height} x {width}; 1 to {LARGEST_FRAME} pixels are taken")
    if not data.endswith(END_OF_IMAGE):  # libjpeg would tell the operator's terminal
        raise VisitorError("a frame that is cut short")
    return number, decode(data)


def decode(data: bytes) -> UInt8Array:
    cv2 = quiet_cv2()
    try:
        frame: UInt8Array | None = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        frame = None
    if frame is None:
        raise VisitorError("a frame that cannot be decoded")
    image: UInt8Array = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return image


def jpeg_size(data: bytes) -> Size:
    """(height, width) by the header, before anything is decoded: a small file can hold a giant picture.

    Raises VisitorError unless it is a baseline JPEG.
    """
    place = len(START_OF_IMAGE)
    while data.startswith(START_OF_IMAGE) and place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker in BASELINE:
            return int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])
        if marker == START_OF_SCAN:
            break
        place += 2 + length
    raise VisitorError("a frame that is no baseline JPEG; take what a canvas makes as image/jpeg")
