"""What became of every picture of a shard, line by line: `manifest-03-of-16.jsonl`.

The first line says what is predicted, and how; then comes a line a picture, in the list's order; the last line says
that the shard is whole, with a SHA-256 over all before it. Lines are appended, each when the files that it names are
written, so whatever kills the process leaves a true beginning; what is torn behind it is cut off.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mbseg.errors import ConfigError
from mbseg.prediction.answer_files import BOXES_SUFFIX, MASK_SUFFIX, stem_of

FORMAT_VERSION = 1
MOST_SHARDS = 512  # their manifests are open at the same time when they are merged
LONGEST_LINE = 2**20  # bytes: what is longer is no line
NAME = re.compile(r"manifest-(\d+)-of-(\d+)\.jsonl")
Facts = dict[str, Any]  # flat: what answers depend on


class Shard(NamedTuple):
    """Every picture whose place in the list, from 0, is number - 1 modulo total."""

    number: int  # from 1
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @property
    def manifest(self) -> str:
        return f"manifest-{self.number:0{len(str(self.total))}}-of-{self.total}.jsonl"

    def own(self, names: list[str]) -> list[str]:
        return names[self.number - 1 :: self.total]


def shard_of(name: str) -> Shard | None:
    """Whose manifest a file is, by its name."""
    found = NAME.fullmatch(name)
    return Shard(int(found[1]), int(found[2])) if found else None


def read_shard(text: str) -> Shard:
    """Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    if found and 1 <= int(found[1]) <= int(found[2]) <= MOST_SHARDS:
        return Shard(int(found[1]), int(found[2]))
    raise ConfigError(f"--shard is {text!r}; 3/16 is the third of 16, and there can be at most {MOST_SHARDS}")


class Header(NamedTuple):
    """The first line."""

    facts: Facts
    command: str = ""  # what makes a shard, but for its number

    def line(self) -> bytes:
        return json_line({"format": FORMAT_VERSION, "command": self.command, "facts": self.facts})


@dataclass(frozen=True)
class Record:
    """The line of a picture."""

    picture: str
    picture_sha256: str | None  # None: its file cannot be read at all
    files: dict[str, str]  # names in the output folder and their SHA-256
    found: str  # in words
    fault: str  # why it has no answer; "": it has

    def line(self) -> bytes:
        return json_line(asdict(self))


def json_line(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree).encode() + b"\n"


class End(NamedTuple):
    """The last line."""

    pictures: int
    faulty: int
    sha256: str  # over all lines before

    def line(self) -> bytes:
        return json_line({"whole": True, **self._asdict()})


def tree_of(line: bytes) -> dict[str, Any]:
    """Empty for what is no whole line with an object in it."""
    try:
        tree = json.loads(line) if line.endswith(b"\n") else {}
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def header_from(line: bytes) -> Header | None:
    """None for what is no whole first line."""
    tree = tree_of(line)
    facts = tree.get("facts")
    if (
        tree.get("format") != FORMAT_VERSION
        or not isinstance(facts, dict)
        or not isinstance(facts.get("pictures"), int)
    ):
        return None
    return Header(facts, str(tree.get("command")))


def end_from(line: bytes) -> End | None:
    """None for what is no whole last line."""
    tree = tree_of(line)
    return End(tree.get("pictures", 0), tree.get("faulty", 0), tree.get("sha256", "")) if tree.get("whole") else None


def record_from(line: bytes) -> Record | None:
    """None for what is no whole line of a picture, or names files that are not an answer's."""
    tree = tree_of(line)
    if set(tree) != {field.name for field in fields(Record)}:
        return None
    record = Record(**tree)
    return record if is_possible(record) else None


def is_possible(record: Record) -> bool:
    path = PurePosixPath(record.picture if isinstance(record.picture, str) else "")
    if not path.name or not isinstance(record.files, dict):
        return False
    answers = {stem_of(record.picture) + suffix for suffix in (MASK_SUFFIX, BOXES_SUFFIX)}
    return not path.is_absolute() and ".." not in path.parts and set(record.files) <= answers


def differences(theirs: Facts, ours: Facts) -> str:
    """In words; "" where they are the same."""
    names = [name for name in ours | theirs if theirs.get(name) != ours.get(name)]
    return "; ".join(f"{name} {theirs.get(name)!r}, not {ours.get(name)!r}" for name in names)
