"""Archives of data sets: fetched, and held against their checksums."""

import hashlib
import os
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from mbseg.data.description import Archive
from mbseg.errors import DataError

Progress = Callable[[str, int, int | None], None]  # what is done, how much of it, of how much in all if that is known

CHUNK = 1 << 20  # bytes


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Progress that nobody watches."""


def fetch(archive: Archive, folder: Path, progress: Progress = silent) -> Path:
    """The archive's file in `folder`, downloaded if it is not there yet. Raises DataError if that fails."""
    file = folder / archive.file
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{archive.file}.part"
        try:
            _download(archive.url, part, progress)
        except (OSError, HTTPException, ValueError) as error:
            part.unlink(missing_ok=True)
            raise DataError(
                f"cannot download {archive.url} ({error}); get the file elsewhere and name it with --archive"
            ) from error
        os.replace(part, file)
    return file


def _download(url: str, file: Path, progress: Progress) -> None:
    with urllib.request.urlopen(url, timeout=60) as source, file.open("wb") as target:
        length = source.headers.get("Content-Length")
        total = int(length) if length else None
        done = 0
        while chunk := source.read(CHUNK):
            target.write(chunk)
            done += len(chunk)
            progress(f"downloading {file.name.removesuffix('.part')}", done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def verify(file: Path, archives: Sequence[Archive], progress: Progress = silent) -> str:
    """The SHA-256 of `file`. Raises DataError if it bears the name of an archive, but not its known checksums.

    A file of another name may well be another packing of the same data: what it holds is judged after unpacking.
    """
    sha256, md5 = _checksums(file, progress)
    for archive in archives:
        for kind, expected, found in ("sha256", archive.sha256, sha256), ("md5", archive.md5, md5):
            if expected and found != expected and file.name == archive.file:
                raise DataError(f"{file}: its {kind} is {found}, expected {expected}; delete it and get it again")
    return sha256


def _checksums(file: Path, progress: Progress) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as source:
        total, done = file.stat().st_size, 0
        while chunk := source.read(CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
            done += len(chunk)
            progress(f"checking {file.name}", done, total)
    return sha256.hexdigest(), md5.hexdigest()
