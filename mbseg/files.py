"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from mbseg.errors import MbsegError, RunError

TEMPORARY_SUFFIX = ".mbseg-partial"
BLOCK = 1 << 20  # bytes


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """An open file that takes the place of `path` when the block ends, and leaves it untouched if the block fails.

    The bytes reach the disk before the name does, so a killed process or a power cut leaves the old file or the new
    one. Raises RunError if writing fails (disk full, no permission, no such folder).
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except MbsegError:
        raise  # of what the block did beside writing
    except Exception as error:
        if (cause := disk_error(error)) is None:
            raise
        raise RunError(f"cannot write {path}: {cause.strerror}; nothing was changed") from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be removed: that is told already
            temporary.unlink()
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path} is written, but may not outlast a power cut: {error.strerror}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """All of `data` under `path`, or the old file. Raises RunError if writing fails."""
    with atomic_file(path) as file:
        file.write(data)


def sweep_temporaries(folder: Path) -> None:
    """Removes what killed processes left half-written. Only for a folder that no other process is writing to."""
    for temporary in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        temporary.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` for what takes its place when it is whole; what is left in it goes with it.

    Those that killed processes have left beside this path go first. Raises OSError if it cannot be made.
    """
    prefix = f".{path.name}-{platform.node()}-"  # process numbers of other machines say nothing here
    for left in path.parent.glob(f"{escape(prefix)}*{TEMPORARY_SUFFIX}"):
        if not is_running(left.name.removeprefix(prefix).split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", suffix=TEMPORARY_SUFFIX, dir=path.parent) as folder:
        yield Path(folder)


def is_running(process: str) -> bool:
    """Of a process number; what is none is nobody's to judge."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True


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


def is_file(path: Path) -> bool:
    """Whether there is a regular file; names that none can have, such as too long ones, are no mistake here."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_special(path: Path) -> bool:
    """Whether there is a device, a pipe or a socket."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def read_bounded(path: Path, most: int) -> bytes:
    """All of a regular file of up to `most` bytes. Raises OSError, also for pipes and devices, which may never end."""
    size = size_of(path)
    if size > most:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, and {most:,} are the most that are read", str(path))
    with path.open("rb") as file:
        return file.read(most)


def size_of(path: Path) -> int:
    """Bytes of a regular file. Raises OSError for anything else."""
    if is_file(path):
        return path.stat().st_size
    if "\0" in str(path) or not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def sha256_of_file(path: Path) -> str:
    """Raises OSError for what cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_start(file: BinaryIO, length: int) -> bytes:
    """Of a file's first bytes, or of all where it has fewer."""
    sha256 = hashlib.sha256()
    file.seek(0)
    while block := file.read(min(length, BLOCK)):
        sha256.update(block)
        length -= len(block)
    return sha256.digest()
