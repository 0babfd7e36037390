"""The folders that mbseg writes to: is there room, can they be written, and are two runs kept apart?"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mbseg.doctor.findings import Finding, fault, in_bytes, ok, warning
from mbseg.errors import RunError
from mbseg.files import disk_error, write_atomically

LEAST = 100_000_000  # bytes: a checkpoint twice, the old one and the new one
ENOUGH = {"runs": 1_000_000_000, "datasets": 5_000_000_000}  # VOC 2012: 2 GB, twice while unpacked
ENOUGH_ELSEWHERE = 500_000_000


class Place(NamedTuple):
    """A folder as it is, or the one in which it would be made."""

    name: str
    folder: Path
    free: int  # bytes
    refusal: str = ""  # why nothing can be written; empty: it can
    locks: bool = True  # a lock keeps a second process out


def gather_places() -> Iterator[Place]:
    yield look_at("runs", Path("runs"))
    yield look_at("datasets", Path("datasets"))
    try:
        yield look_at("temporary files", Path(tempfile.gettempdir()))
    except FileNotFoundError as error:  # none of those that Python knows of can be written
        yield Place("temporary files", Path("TMPDIR"), 0, str(error.strerror))


def look_at(name: str, folder: Path) -> Place:
    """Writes and locks a file in a folder of its own, which is gone afterwards."""
    folder = folder.absolute()
    nearest = next(one for one in (folder, *folder.parents) if one.is_dir())
    free = shutil.disk_usage(nearest).free
    try:
        with TemporaryDirectory(prefix=".mbseg-doctor-", dir=nearest) as scratch:
            file = Path(scratch, "file")
            write_atomically(file, b"whole")
            return Place(name, folder, free, locks=keeps_others_out(file))
    except (OSError, RunError) as error:
        cause = disk_error(error)
        return Place(name, folder, free, str(cause.strerror if cause else error))


def keeps_others_out(file: Path) -> bool:
    """Some network file systems take every lock, or none."""
    with file.open("rb") as ours, file.open("rb") as theirs:
        try:
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        try:
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def check_place(place: Place) -> Finding:
    name, free = f"disk: {place.name}", f"{in_bytes(place.free)} free at {place.folder}"
    if place.refusal:
        says = f"{place.folder} cannot be written: {place.refusal}"
        return fault(name, says, "name another folder (--output, --root, TMPDIR), or make this one writable")
    if place.free < LEAST:
        return fault(name, free, "free some space, or use a folder on another disk")
    if place.free < (enough := ENOUGH.get(place.name, ENOUGH_ELSEWHERE)):
        return warning(name, free, f"have {in_bytes(enough)} there, or use a folder on another disk")
    if not place.locks:
        advice = "take care that no two trainings write into one run folder, or use a local disk"
        return warning(name, f"{free}, whose file system has no locks", advice)
    return ok(name, free)
