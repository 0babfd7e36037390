"""Files that are there whole or not at all, whatever happens while they are written."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mbseg.errors import RunError

TEMPORARY_SUFFIX = ".mbseg-partial"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """An open file that takes the place of `path` when the block ends, and leaves it untouched if the block fails.

    The bytes reach the disk before the name does, so a killed process or a power cut leaves the old file or the new
    one. Raises RunError if writing fails (disk full, no permission, no such folder).
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except Exception as error:
        if (cause := disk_error(error)) is None:
            raise
        raise RunError(f"cannot write {path}: {cause.strerror}; nothing was changed") from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be removed: that is told already
            temporary.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """All of `data` under `path`, or the old file. Raises RunError if writing fails."""
    with atomic_file(path) as file:
        file.write(data)


def sweep_temporaries(folder: Path) -> None:
    """Removes what killed processes left half-written. Only for a folder that no other process is writing to."""
    for temporary in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: BaseException | None) -> OSError | None:
    """The OSError behind an exception: torch.save wraps a full disk into a RuntimeError of its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
