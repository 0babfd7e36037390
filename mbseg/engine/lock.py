"""One writer a folder: a lock that the system takes back when its process ends, however that happens."""

import errno
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from mbseg.errors import RunError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

NAME = ".lock"
UNKNOWN_HERE = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # some network file systems say

_held: set[int] = set()  # descriptors


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder, and holds it against other processes; what is empty at the end goes again.

    Raises RunError for a folder that another process holds, naming it, or that cannot be made or written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(folder)
    except OSError as error:
        remove_empty(made)
        raise RunError(f"{folder} cannot be written to: {error.strerror}; name another folder") from None
    _held.add(descriptor)
    try:
        yield
    finally:
        with suppress(OSError):
            if is_still(descriptor, folder / NAME):  # the folder may be gone, and made anew by another process
                (folder / NAME).unlink()
        _held.discard(descriptor)
        os.close(descriptor)
        remove_empty(made)


def open_lock(folder: Path) -> int:
    """The descriptor that holds the lock. Raises RunError if another process does."""
    while True:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            take(descriptor, folder)
            if is_still(descriptor, folder / NAME):
                with suppress(OSError):  # on a full disk it holds too
                    write_holder(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has removed it just now


def take(descriptor: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"{folder} is in use by {holder(descriptor)}; wait for it, or name another folder") from None
    except OSError as error:
        if error.errno not in UNKNOWN_HERE:
            raise
        logger.warning("%s: this file system knows no locks; see to it that only one process writes there", folder)


def is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that lies there."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write_holder(descriptor: int) -> None:
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(facts).encode(), 0)


def holder(descriptor: int) -> str:
    """process 12 on host since ...; it may not have said so yet."""
    try:
        facts = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def forget_in_child() -> None:
    """A forked child, such as a loader's worker, would hold the lock as long as it lives."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=forget_in_child)
