"""The pictures of a folder or of a whole tree, in one order on every machine."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn

from mbseg.data.layouts import IMAGE_SUFFIXES
from mbseg.errors import DataError, RunError
from mbseg.files import sha256_of_file, size_of
from mbseg.video.pictures import natural_order

LASTING = (None, errno.ENOENT, errno.EINVAL, errno.EISDIR)  # PIL's own words, a link that leads nowhere, a pipe


class PictureList(NamedTuple):
    """Names below a folder, with "/" behind its subfolders: a million of them take a tenth of a gigabyte."""

    folder: Path
    names: list[str]
    recursive: bool = False  # with those of its subfolders

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]


def find_pictures(source: Path, *, recursive: bool = False) -> PictureList:
    """The pictures of a folder, 9 before 10, or the one that is named. Raises DataError where there is none."""
    if source.is_file():
        return PictureList(source.parent, [source.name])
    if not source.is_dir():
        raise DataError(f"{source}: there is no such file or folder")
    names = [name for name in files_below(source, recursive=recursive) if is_picture(name)]
    if not names:
        raise DataError(f"{source}: there is no picture in it ({', '.join(IMAGE_SUFFIXES)})")
    names.sort()  # decides between 7.jpg and 07.jpg, whose numbers are equal
    names.sort(key=natural_order)
    return PictureList(source, names, recursive)


def files_below(folder: Path, *, recursive: bool) -> Iterator[str]:
    """Names of files in any order. Links to folders are not followed: they can lead round in a circle."""
    for place, _, files in os.walk(folder, onerror=refuse):
        below = Path(place).relative_to(folder)
        yield from ((below / name).as_posix() for name in files)
        if not recursive:
            return


def refuse(error: OSError) -> NoReturn:
    """A folder that cannot be listed must not look like an empty one."""
    raise error


def is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def sha256_of(names: Iterable[str]) -> str:
    """Of a list of pictures, wherever its folder lies."""
    sha256 = hashlib.sha256()
    for name in names:
        sha256.update(os.fsencode(name) + b"\0")
    return sha256.hexdigest()


def sha256_if_there(path: Path) -> str | None:
    """None where there is no such file. Raises RunError for one that cannot be read now."""
    try:
        size_of(path)  # a pipe would never end
        return sha256_of_file(path)
    except OSError as error:
        if not is_passing(error):
            return None
        raise RunError(f"{path}: cannot be read ({error.strerror}); run it again") from error


def is_passing(error: BaseException | None) -> bool:
    """Whether a file could not be read for a reason that is not its own: another time it may be read."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in LASTING)
