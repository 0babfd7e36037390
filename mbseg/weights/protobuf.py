"""Protocol buffers as far as TensorFlow's graphs need them: the fields of a message, inside its bytes.

A field is a varint, number << 3 | type, and what the type says: 0 a varint, 1 eight bytes, 2 a length and as many
bytes, 5 four bytes (https://protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mbseg.errors import WeightsError
from mbseg.files import read_bounded

LARGEST_FILE = 2**27  # bytes; the MobileNets' files have up to 30 MB
MOST_FIELDS = 2_000_000  # of a whole file; each costs far more time than its bytes. SSDLite has 60,000
LONGEST_VARINT = 10  # bytes
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5

Value = int | memoryview  # of a varint, of all other types


@dataclass
class ProtobufFile:
    """The bytes of a file, and how much of them may still be looked at."""

    origin: str  # names the file in errors
    fields_left: int = MOST_FIELDS

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """Number and value of every field, in order. Raises WeightsError for a message that is damaged."""
        position = 0
        while position < len(message):
            key, position = self.varint(message, position)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, position = self.varint(message, position)
                yield number, value
                continue
            size, position = self._size(kind, message, position)
            if position + size > len(message):
                raise self.damaged(f"a field of {size} bytes where {len(message) - position} are left")
            yield number, message[position : position + size]
            position += size

    def _size(self, kind: int, message: memoryview, position: int) -> tuple[int, int]:
        """The length of a value, and where it begins."""
        if kind == LENGTH:
            return self.varint(message, position)
        if kind not in (EIGHT_BYTES, FOUR_BYTES):
            raise self.damaged(f"a field of type {kind}")
        return (8 if kind == EIGHT_BYTES else 4), position

    def varint(self, message: memoryview, position: int) -> tuple[int, int]:
        """The unsigned number at `position`, and the position behind it."""
        self.fields_left -= 1
        if self.fields_left < 0:
            raise WeightsError(f"{self.origin} has more than {MOST_FIELDS} fields; no MobileNet has")
        value = 0
        for index, byte in enumerate(message[position : position + LONGEST_VARINT]):
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position + index + 1
        raise self.damaged("a number without an end")

    def numbers(self, value: Value) -> list[int]:
        """Signed numbers of a repeated field: one of them, or a packed message of many."""
        if isinstance(value, int):
            return [signed(value)]
        found, position = [], 0
        while position < len(value):
            number, position = self.varint(value, position)
            found.append(signed(number))
        return found

    def submessage(self, value: Value) -> memoryview:
        if isinstance(value, int):
            raise self.damaged("a number where a message belongs")
        return value

    def number(self, value: Value) -> int:
        if not isinstance(value, int):
            raise self.damaged("a message where a number belongs")
        return signed(value)

    def text(self, value: Value, length: int) -> str:
        """A text of up to `length` bytes."""
        content = self.submessage(value)
        if len(content) > length:
            raise WeightsError(f"{self.origin} has a name of {len(content)} bytes; up to {length} are read")
        return content.tobytes().decode(errors="replace")

    def damaged(self, found: str) -> WeightsError:
        return WeightsError(f"{self.origin} is no TensorFlow graph, or damaged: it has {found}")


def signed(number: int) -> int:
    """Negative numbers are stored as 64-bit two's complement."""
    return number - 2**64 if number >= 2**63 else number


def read_protobuf_bytes(path: Path) -> memoryview:
    try:
        return memoryview(read_bounded(path, LARGEST_FILE))
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
