"""A shard's manifest while it is written."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, final

from mbseg.engine.lock import take
from mbseg.errors import RunError
from mbseg.prediction.manifest import LONGEST_LINE, End, Header, Record, differences, end_from, header_from, record_from


@final
class OpenManifest:
    """What is known is read first, in the list's order; what is new is put behind it."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file = file
        self.path = path
        self.sha256 = hashlib.sha256()
        self.end = self.pictures = self.faulty = 0
        self.is_read = False  # nothing more is known

    def begin(self, header: Header, *, anew: bool) -> None:
        """Raises RunError for one that was begun with other facts, unless it is to be begun `anew`."""
        self.file.seek(0)
        line = self.file.readline(LONGEST_LINE)
        begun = None if anew else header_from(line)
        if begun is None:
            self.is_read = True
            self._put(header.line())
        elif different := differences(begun.facts, header.facts):
            raise RunError(f"{self.path} was begun with {different}; --overwrite begins it anew")
        else:
            self._count(line)

    def known(self, picture: str) -> Record | None:
        """The next line, if it is of this picture; else nothing more is known."""
        if self.is_read:
            return None
        line = self.file.readline(LONGEST_LINE)
        record = record_from(line)
        if record is None or record.picture != picture:
            self.is_read = True
            return None
        self._count(line, record)
        return record

    def append(self, record: Record) -> None:
        """Raises RunError if the disk refuses."""
        self._put(record.line(), record)

    def finish(self) -> None:
        """Says that it is whole. Raises RunError for one that said so already with another SHA-256."""
        line = End(self.pictures, self.faulty, self.sha256.hexdigest()).line()
        self.file.seek(self.end)
        if (rest := self.file.read()) != line and end_from(rest):
            raise RunError(f"{self.path} is damaged: its SHA-256 is another; --overwrite begins it anew")
        if rest != line:
            self._put(line)
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _put(self, line: bytes, record: Record | None = None) -> None:
        """In place of whatever stands behind what is known."""
        try:
            self.file.seek(self.end)
            self.file.truncate()
            self.file.write(line)
            self.file.flush()
        except OSError as error:
            raise self._refused(error) from error
        self._count(line, record)

    def _refused(self, error: OSError) -> RunError:
        return RunError(f"cannot write {self.path}: {error.strerror}; run it again to go on")

    def _count(self, line: bytes, record: Record | None = None) -> None:
        self.sha256.update(line)
        self.end += len(line)
        self.pictures += record is not None
        self.faulty += record is not None and bool(record.fault)


@contextmanager
def open_manifest(path: Path, header: Header, *, anew: bool) -> Iterator[OpenManifest]:
    """Behind its first line. Raises RunError for one that another process writes, or begun with other facts."""
    file = path.open("a+b")
    try:
        take(file.fileno(), path)
        manifest = OpenManifest(file, path)
        manifest.begin(header, anew=anew)
        yield manifest
    finally:
        with suppress(OSError):  # the disk refuses again what it has refused: that is told already
            file.close()
