"""All shards of one prediction, found by their manifests."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mbseg.errors import RunError
from mbseg.prediction.manifest import (
    LONGEST_LINE,
    Header,
    Record,
    Shard,
    differences,
    end_from,
    header_from,
    record_from,
    shard_of,
)
from mbseg.prediction.picture_list import sha256_of


class ShardSet(NamedTuple):
    """All of them, whole, and made in the same way."""

    manifests: list[Path]  # by number
    header: Header

    @property
    def pictures(self) -> int:
        return int(self.header.facts["pictures"])

    def command(self, manifest: Path) -> str:
        """What makes its shard."""
        return f"{self.header.command} --shard {shard_of(manifest.name)}"

    def records(self) -> Iterator[tuple[Path, Record]]:
        """The line of every picture in the list's order, with the manifest that it stands in. Raises RunError."""
        count = len(self.manifests)
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self.manifests]
            for file in files:
                file.readline(LONGEST_LINE)
            for place in range(self.pictures):
                record = record_from(files[place % count].readline(LONGEST_LINE))
                if record is None:
                    raise RunError(f"{self.manifests[place % count]} is damaged: a line of it says what cannot be")
                yield self.manifests[place % count], record

    def check_pictures(self) -> None:
        """Raises RunError where a picture is missing, double or foreign."""
        if sha256_of(record.picture for _, record in self.records()) != self.header.facts.get("pictures_sha256"):
            raise RunError(f"the pictures in {self.manifests[0]} and the others are not those of their list")


def find_shards(folders: Sequence[Path]) -> ShardSet:
    """Raises RunError for shards that are missing, unfinished, double or made in different ways."""
    found: dict[Shard, Path] = {}
    for shard, path in manifests_in(folders):
        if shard in found:
            raise RunError(f"shard {shard} is there twice: {found[shard]} and {path}; leave one of them away")
        found[shard] = path
    header, count = common_header(found), next(iter(found)).total
    wanted = [Shard(number, count) for number in range(1, count + 1)]
    if missing := [shard for shard in wanted if shard not in found or not is_whole(found[shard], shard, header)]:
        others = f", then {', '.join(map(str, missing[1:4]))}{', ...' * (len(missing) > 4)}" if missing[1:] else ""
        raise RunError(f"{len(missing)} of {count} shards are not whole: {header.command} --shard {missing[0]}{others}")
    return ShardSet([found[shard] for shard in wanted], header)


def manifests_in(folders: Sequence[Path]) -> Iterator[tuple[Shard, Path]]:
    """Raises RunError for a folder without any."""
    for folder in folders:
        inside = [(shard, path) for path in sorted(folder.glob("manifest-*")) if (shard := shard_of(path.name))]
        if not inside:
            raise RunError(f"{folder} holds no shard; make one: mbseg predict WEIGHTS PICTURES {folder} --shard 1/4")
        yield from inside


def common_header(found: Mapping[Shard, Path]) -> Header:
    """Raises RunError where shards are of different counts, or were made in different ways."""
    (first, path), *others = found.items()
    header = read_header(path)
    for shard, other in others:
        if shard.total != first.total:
            raise RunError(f"{other} is one of {shard.total} shards, {path} of {first.total}; merge those of one kind")
        if different := differences(read_header(other).facts, header.facts):
            raise RunError(f"{other} was made with {different} as in {path}; make all shards in the same way")
    return header


def read_header(path: Path) -> Header:
    """Raises RunError."""
    with path.open("rb") as file:
        header = header_from(file.readline(LONGEST_LINE))
    if header is None:
        raise RunError(f"{path} has no whole first line; make the shard again")
    return header


def is_whole(path: Path, shard: Shard, header: Header) -> bool:
    """Whether its last line says so, and is right."""
    sha256, line = hashlib.sha256(), b""
    with path.open("rb") as file:
        for following in iter(partial(file.readline, LONGEST_LINE), b""):
            sha256.update(line)
            line = following
    end = end_from(line)
    size = len(range(shard.number - 1, header.facts["pictures"], shard.total))
    return end is not None and (end.pictures, end.sha256) == (size, sha256.hexdigest())
