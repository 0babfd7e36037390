"""FlatBuffers as far as .tflite files need them: tables, vectors, texts; every access stays inside the file.

A table's position less its signed first word is the position of its vtable, which holds, behind two sizes, a 16-bit
offset of every field (slot); 0 or a slot behind its end means that the field has its default. Tables, vectors and
texts are reached through a 32-bit offset counted from where it stands (https://flatbuffers.dev/internals).
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mbseg.errors import WeightsError
from mbseg.files import read_bounded

IDENTIFIER = b"TFL3"
HEADER = 8  # root offset and identifier
LARGEST_FILE = 2**27  # bytes; the MobileNets' files have up to 30 MB


@dataclass(frozen=True)
class FlatBuffer:
    """The bytes of a file. Every method raises WeightsError for a position outside."""

    data: bytes
    origin: str  # names the file in errors

    def number(self, code: str, position: int) -> int:
        """The little-endian integer of struct's `code` at `position`."""
        self.check(position, struct.calcsize(f"<{code}"))
        return int(struct.unpack_from(f"<{code}", self.data, position)[0])

    def follow(self, position: int) -> int:
        return position + self.number("I", position)

    def array(self, position: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """The vector at `position`, a view of the file's bytes."""
        count = self.number("I", position)
        self.check(position + 4, count * np.dtype(dtype).itemsize)
        return np.frombuffer(self.data, dtype=dtype, count=count, offset=position + 4)

    def check(self, position: int, size: int) -> None:
        if position < 0 or position + size > len(self.data):
            raise WeightsError(
                f"{self.origin} is damaged: it refers to bytes {position} to {position + size}, "
                f"and has {len(self.data)}"
            )


@dataclass(frozen=True)
class Table:
    """A record; fields are named by their slot in the schema."""

    buffer: FlatBuffer
    position: int

    def field(self, slot: int) -> int | None:
        """Where the field stands; None where the file leaves it at its default."""
        vtable = self.position - self.buffer.number("i", self.position)
        entry = 4 + 2 * slot
        if entry + 2 > self.buffer.number("H", vtable):
            return None
        offset = self.buffer.number("H", vtable + entry)
        return self.position + offset if offset else None

    def number(self, slot: int, code: str, default: int = 0) -> int:
        position = self.field(slot)
        return default if position is None else self.buffer.number(code, position)

    def text(self, slot: int, length: int) -> str:
        """The beginning of a text; what cannot be printed is a question mark."""
        characters = self.array(slot, np.uint8)[:length].tobytes().decode(errors="replace")
        return "".join(character if character.isprintable() else "?" for character in characters)

    def table(self, slot: int) -> "Table | None":
        position = self.field(slot)
        return None if position is None else Table(self.buffer, self.buffer.follow(position))

    def tables(self, slot: int, limit: int) -> list["Table"]:
        """A vector of tables. More than `limit` are refused: each costs far more memory here than in the file."""
        position = self.field(slot)
        if position is None:
            return []
        vector = self.buffer.follow(position)
        count = self.buffer.number("I", vector)
        if count > limit:
            raise WeightsError(f"{self.buffer.origin} has a list of {count} entries; up to {limit} are read")
        return [Table(self.buffer, self.buffer.follow(vector + 4 + 4 * index)) for index in range(count)]

    def array(self, slot: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """A vector of numbers, empty where the field is missing."""
        position = self.field(slot)
        if position is None:
            return np.zeros(0, dtype)
        return self.buffer.array(self.buffer.follow(position), dtype)


def root_table(path: Path) -> Table:
    """The outermost table of a .tflite file. Raises WeightsError for a file that is none."""
    buffer = FlatBuffer(read_tflite_bytes(path), str(path))
    return Table(buffer, buffer.follow(0))


def read_tflite_bytes(path: Path) -> bytes:
    try:
        content = read_bounded(path, LARGEST_FILE)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if content[4:HEADER] != IDENTIFIER:
        raise WeightsError(
            f"{path} is no .tflite file: bytes 4 to 8 are {content[4:HEADER]!r} instead of {IDENTIFIER!r}"
        )
    return content
