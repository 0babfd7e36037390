"""Archives unpacked without trusting what is in them.

Only files and folders are unpacked: a link could lead what comes behind it out of the folder. What an archive grows to
is counted while it is unpacked, and what its library may keep in memory of it is bounded at every read.
"""

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from mbseg.data.archives import Progress, silent
from mbseg.errors import DataError, one_line

MAX_UNPACKED = 64 << 30  # bytes; no data set here is half as large
MOST_GROWTH = 50  # times the archive's own size: pictures are compressed already, COCO's annotations grow fivefold
ALWAYS_ALLOWED = 16 << 20  # bytes, whatever the archive's size
BLOCK = 4096  # bytes that the smallest file takes on a disk
MOST_MEMBERS = 1_000_000  # COCO's largest archive has 118,000
MOST_EMPTY = 10_000  # of them folders, or files without content
LONGEST_NAME = 1024  # characters; folders in folders of longer ones could not be removed again
SHOWN = 40  # of them
LARGEST_HEADERS = 256 << 20  # bytes, of a zip archive's list of members
LARGEST_HEADER = 1 << 20  # bytes, of one member of a tar archive
READERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
DAMAGED = (  # what the two libraries raise of archives that are
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, RuntimeError, ValueError, NotImplementedError),
)


def unpack(file: Path, folder: Path, progress: Progress = silent, *, limit: int = MAX_UNPACKED) -> None:
    """Unpack a tar or zip archive of at most `limit` bytes into `folder`.

    Raises DataError for a damaged archive, one that grows beyond measure, a member that would land outside the folder,
    and one that is neither file nor folder.
    """
    try:
        tally = Tally(min(limit, MOST_GROWTH * file.stat().st_size + ALWAYS_ALLOWED))
        if zipfile.is_zipfile(file):
            _unpack_zip(file, folder, progress, tally)
        else:
            _unpack_tar(file, folder, progress, tally)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except DAMAGED as error:
        raise DataError(f"{file}: cannot be unpacked ({one_line(str(error))[:200]})") from error


class Tally:
    """What an archive unpacks to, so far."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = self.members = self.empty = 0

    def add(self, name: str, size: int) -> None:
        """Raises DataError for a member that should not be unpacked."""
        self.bytes += max(size, BLOCK)
        self.members += 1
        self.empty += not size
        if self.bytes > self.limit:
            raise DataError(f"it unpacks to more than {self.limit} bytes")
        if self.members > MOST_MEMBERS or self.empty > MOST_EMPTY:
            raise DataError(
                f"it has more than {MOST_MEMBERS} members, or more than {MOST_EMPTY} that are empty; no data set has"
            )
        if len(name) > LONGEST_NAME:
            raise DataError(f"its member {name[:SHOWN]!r}... has a name of {len(name)} characters")
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0]:
            raise DataError(f"its member {name!r} would be written outside the folder")


def _unpack_zip(file: Path, folder: Path, progress: Progress, tally: Tally) -> None:
    with file.open("rb") as content:
        rationed = Rationed(content, LARGEST_HEADERS)
        with zipfile.ZipFile(cast(IO[bytes], rationed)) as source:
            rationed.left = MAX_UNPACKED
            members = source.infolist()
            for member in members:
                tally.add(member.filename, member.file_size)
            for number, member in enumerate(members, start=1):
                source.extract(member, folder)
                progress(f"unpacking {file.name}", number, len(members))


def _unpack_tar(file: Path, folder: Path, progress: Progress, tally: Tally) -> None:
    with _plain(file) as content:
        rationed = Rationed(content, LARGEST_HEADER)
        with tarfile.open(fileobj=cast(IO[bytes], rationed), mode="r:") as source:
            for number, member in enumerate(iter(source.next, None), start=1):
                tally.add(member.name.lstrip("/"), member.size)
                if not member.isfile() and not member.isdir():
                    raise DataError(f"its member {member.name!r} is a link or a device; files and folders are unpacked")
                rationed.left = MAX_UNPACKED
                source.extract(member, folder, filter="data")
                rationed.left = LARGEST_HEADER
                source.members.clear()  # type: ignore[attr-defined]  # kept for links, of which there are none
                progress(f"unpacking {file.name}", number, None)


def _plain(file: Path) -> IO[bytes]:
    """The tar archive inside, whatever compressed it."""
    with file.open("rb") as content:
        start = content.read(6)
    for mark, reader in READERS.items():
        if start.startswith(mark):
            return cast(IO[bytes], reader(file))
    return file.open("rb")


class Rationed:
    """A file of which no more than `left` bytes can be read, so that no list in it fills the memory."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file = file
        self.left = left
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size if 0 <= size <= self.left else self.left + 1)
        self.left -= len(content)
        if self.left < 0:
            raise DataError("the names and sizes of its members take more bytes than any data set's")
        return content
