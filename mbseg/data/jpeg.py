"""What PIL does not bound of a JPEG: metadata without end, and scans that each refine the whole picture."""

import re
from pathlib import Path
from typing import BinaryIO

from mbseg.errors import DataError

START, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")  # that libjpeg stops at among pixels, of END or of a segment
MOST_METADATA = 1 << 24  # bytes in front of the first scan; PIL's time grows with their square
MOST_REFINED = (
    1 << 31
)  # pixels of all scans together: 24 scans of the largest picture, which has 10 if it is progressive
MOST_SCANS = 1000
MOST_SEGMENTS = 100_000


def check_metadata(file: Path) -> None:
    """Before PIL reads it. Raises DataError for a JPEG with more metadata than any picture needs."""
    with file.open("rb") as stream:
        if stream.read(len(START)) == START and _first_scan(stream) > MOST_METADATA:
            raise DataError(f"more than {MOST_METADATA >> 20} MB of metadata; save it again without")


def _first_scan(stream: BinaryIO) -> int:
    """Where the segments end that stand in front of the pixels."""
    place = len(START)
    while place <= MOST_METADATA:
        stream.seek(place)
        head = stream.read(4)
        if len(head) < 4 or head[:1] != SCAN[:1] or head[:2] == SCAN:
            break
        place += 2 + int.from_bytes(head[2:])
    return place


def check_scans(file: Path, pixels: int) -> None:
    """Before it is decoded. Raises DataError for more scans than a picture of so many pixels needs."""
    scans = _scans(file.read_bytes())
    if scans > MOST_SCANS or scans * pixels > MOST_REFINED:
        raise DataError(f"{scans} scans; save it again")


def _scans(content: bytes) -> int:
    """How many the picture has. What stands behind its end is none of it: phones append a film."""
    scans = place = 0
    for _ in range(MOST_SEGMENTS):
        marker = MARKER.search(content, place)
        if marker is None or marker[0] == END:
            return scans
        scans += marker[0] == SCAN
        place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    raise DataError(f"more than {MOST_SEGMENTS} segments; save it again")
