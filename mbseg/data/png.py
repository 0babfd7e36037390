"""What PIL does not notice of a PNG: rows that are missing, and chunks without end."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mbseg.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK = struct.Struct(">I4s")  # length and kind, in front of the contents; a checksum of four bytes is behind them
HEADER = struct.Struct(">IIBBBBB")
SHORTEST_CHUNK = 12  # bytes
MOST_CHUNKS = 1 << 16  # PIL takes a second for so many
MOST_METADATA = 1 << 26  # bytes of a chunk that holds no pixels
PIECE = 1 << 16  # bytes
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
WHOLE = ((0, 0, 1, 1),)  # first column and row of a pass, and the steps to the next ones
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # interlaced


def check_chunks(file: Path, size: int) -> None:
    """Before PIL reads it. Raises DataError for a file of `size` bytes that has more chunks than any picture needs."""
    if size < MOST_CHUNKS * SHORTEST_CHUNK:
        return
    with file.open("rb") as stream:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            return
        for number, (kind, length) in enumerate(_chunks(stream)):
            if number > MOST_CHUNKS or (kind != b"IDAT" and length > MOST_METADATA):
                raise DataError("more chunks, or larger ones, than a picture needs; save it again")


def ends_early(file: Path) -> bool:
    """Whether a PNG lacks rows, which PIL leaves zero without a word."""
    with file.open("rb") as stream:
        missing = _bytes_of_rows(stream.read(len(SIGNATURE) + CHUNK.size + HEADER.size)[-HEADER.size :])
        inflate = zlib.decompressobj()
        for data in _pixel_data(stream):
            while data and missing > 0:
                missing -= len(inflate.decompress(data, min(missing, PIECE)))
                data = inflate.unconsumed_tail
    return missing > 0


def _bytes_of_rows(header: bytes) -> int:
    """Of all passes, each row with the byte for its filter."""
    width, height, bits, colour_type, _, _, interlaced = HEADER.unpack(header)
    total = 0
    for left, top, across, down in ADAM7 if interlaced else WHOLE:
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * CHANNELS[colour_type] * bits + 7) // 8)
    return total


def _pixel_data(stream: BinaryIO) -> Iterator[bytes]:
    """The contents of the IDAT chunks, in pieces."""
    for kind, length in _chunks(stream):
        if kind == b"IDAT":
            for start in range(0, length, PIECE):
                yield stream.read(min(PIECE, length - start))


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each; the stream then stands at its contents."""
    place = len(SIGNATURE)
    while True:
        stream.seek(place)
        head = stream.read(CHUNK.size)
        if len(head) < CHUNK.size:
            return
        length, kind = CHUNK.unpack(head)
        yield kind, length
        place += SHORTEST_CHUNK + length
