"""The shards of a prediction put together, checked by SHA-256, in memory that hardly grows with the pictures."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mbseg.engine.lock import locked
from mbseg.errors import RunError
from mbseg.files import atomic_file, write_atomically
from mbseg.prediction.all_boxes import ALL_BOXES, AllBoxes
from mbseg.prediction.answer_files import BOXES_SUFFIX
from mbseg.prediction.manifest import End, Header, Record, shard_of
from mbseg.prediction.picture_list import files_below, sha256_if_there
from mbseg.prediction.predicting import sweep
from mbseg.prediction.shard_set import ShardSet, find_shards
from mbseg.video.outputs import make_folder

MERGED = "manifest.jsonl"


class Merged(NamedTuple):
    """What came of it."""

    output: Path
    pictures: int
    faulty: list[str]  # those without an answer


def merge(folders: Sequence[Path], output: Path | None = None) -> Merged:
    """One folder out of the shards in `folders`; several need an `output`. Its bytes do not depend on their number.

    Raises RunError for shards that are missing, unfinished, double or made in different ways, for files that are
    missing, changed, unreadable or no shard's, and for an output that holds something else.
    """
    if output is None and len(folders) > 1:
        raise RunError(f"the shards are in {len(folders)} folders; name one for all of them with --output")
    place = output or folders[0]
    shards = find_shards(folders)
    shards.check_pictures()
    counts = Counter(path.parent for path, record in shards.records() for _ in record.files)
    for folder in dict.fromkeys([*folders, place]):
        if folder.is_dir() and counts[folder] != sum(1 for _ in answers_in(folder)):
            check_foreign(folder, shards)
    with locked(place):
        sweep(place, recursive=True)
        return Merged(place, shards.pictures, put_together(shards, place))


def check_foreign(folder: Path, shards: ShardSet) -> None:
    """Raises RunError for a folder with files that are no answers; a missing one is told of when its turn comes."""
    known = {name for _, record in shards.records() for name in record.files}
    if foreign := sorted(set(answers_in(folder)) - known):
        raise RunError(f"{folder} holds {len(foreign)} files of no shard, such as {foreign[0]}; move them away")


def answers_in(folder: Path) -> Iterator[str]:
    """All files but what shards and this module write beside answers."""
    for name in files_below(folder, recursive=True):
        if name not in (ALL_BOXES, MERGED) and not shard_of(name) and not name.rpartition("/")[2].startswith("."):
            yield name


def put_together(shards: ShardSet, place: Path) -> list[str]:
    """The pictures that could not be read."""
    faulty = []
    with AllBoxes(place) as all_boxes, atomic_file(place / MERGED) as manifest:
        lines = Lines(manifest)
        lines.write(Header(shards.header.facts).line())
        for path, record in shards.records():
            for name, data in checked_files(path, record, shards):
                put(data, path.parent / name, place / name)
                if name.endswith(BOXES_SUFFIX):
                    all_boxes.add(data)
            lines.write(record.line())
            if record.fault:
                faulty.append(record.picture)
        all_boxes.write()
        lines.write(End(shards.pictures, len(faulty), lines.sha256.hexdigest()).line())
    return faulty


class Lines:
    """Written, with their SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, line: bytes) -> None:
        self.sha256.update(line)
        self.file.write(line)


def checked_files(path: Path, record: Record, shards: ShardSet) -> Iterator[tuple[str, bytes]]:
    """The answers for a picture. Raises RunError for one that is not what was written."""
    for name, sha256 in record.files.items():
        file = path.parent / name
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise RunError(f"{file}: cannot be read ({error.strerror}); run it again") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            again = shards.command(path)
            raise RunError(f"{file} is missing or damaged: its SHA-256 is not that in {path}; make it again: {again}")
        yield name, data


def put(data: bytes, file: Path, target: Path) -> None:
    """Links the file where the disk allows it, else copies it. Raises RunError for another one of the same name."""
    if file == target or sha256_if_there(target) == hashlib.sha256(data).hexdigest():
        return
    if target.exists():
        raise RunError(f"{target} is there already, and another one; name another --output")
    make_folder(target.parent)
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        write_atomically(target, data)
