"""Damage that keeps a file's form and its checksums right, so that it reaches what lies behind the first look."""

import copy
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml

from tests.stress.inputs.mutations import BYTES, LONGEST, Mutation, flip, integer, noise

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "x", "\n", "\x00", "\x1b[2J", "../../outside.txt", "/etc/passwd", "é\u2028", "y" * 70_000, "1e400"),
    *([], {}, [[]], [None], {"": None}, [0] * 3, [1e9] * 4, ["a", "a"], {"base": "x"}, [[[[[[[[]]]]]]]]),
)
NAMES = (
    "../outside.txt",
    "/tmp/outside.txt",
    "a/../../outside.txt",
    "C:\\x",
    "..\\x",
    "x\ny",
    "",
    ".",
    "y" * 300,
    "a/b",
)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
Tree = Any


def tree_mutation(read: Callable[[bytes], Tree], write: Callable[[Tree], bytes]) -> Mutation:
    """Of a content that is a tree of lists and dicts inside."""

    def mutate(content: bytes, _other: bytes, chance: Random) -> bytes:
        tree = read(content)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            tree = changed(tree, chance)
        return write(tree)[:LONGEST]

    return mutate


def changed(tree: Tree, chance: Random) -> Tree:
    """One place of it: another value, gone, renamed, repeated or put into itself."""
    places = list(places_of(tree))
    if not places:
        return strange(chance)
    parent, key = chance.choice(places)
    match chance.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[chance.choice([str(key).upper(), "", "x" * 300, "base", "__class__"])] = parent.pop(key)
        case 2 if isinstance(parent, list):
            parent[key:key] = [parent[key]] * chance.choice((1, 1, 100))
        case 3:
            parent[key] = {"a": [parent[key]]}
        case 4:
            parent[key] = chance.choice(places)[0]
            return json_copy(tree)
        case _:
            parent[key] = strange(chance)
    return tree


def strange(chance: Random) -> Tree:
    """A value of its own: what comes later may change it."""
    return copy.deepcopy(chance.choice(VALUES))


def json_copy(tree: Tree, depth: int = 12) -> Tree:
    """What is put into itself, unfolded so far."""
    if depth == 0:
        return None
    if isinstance(tree, dict):
        return {key: json_copy(value, depth - 1) for key, value in list(tree.items())[:20]}
    return [json_copy(value, depth - 1) for value in tree[:20]] if isinstance(tree, list) else tree


def places_of(tree: Tree) -> Iterator[tuple[Any, Any]]:
    """Every container and key in it."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    for key in keys:
        yield tree, key
        yield from places_of(tree[key])


json_tree = tree_mutation(json.loads, lambda tree: json.dumps(tree).encode())
yaml_tree = tree_mutation(yaml.safe_load, lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode())


def json_lines(content: bytes, other: bytes, chance: Random) -> bytes:
    """One line of several."""
    lines = content.splitlines()
    place = chance.randrange(len(lines))
    lines[place] = json_tree(lines[place], other, chance)
    return b"\n".join(lines) + b"\n"


def safetensors_header(content: bytes, _other: bytes, chance: Random) -> bytes:
    """Shapes, types, offsets and the card, under a length that is right."""
    (length,) = struct.unpack("<Q", content[:8])
    header = changed(json.loads(content[8 : 8 + length]), chance)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def png_chunk(content: bytes, _other: bytes, chance: Random) -> bytes:
    """One chunk damaged, lost or repeated; its checksum is right."""
    chunks = list(png_chunks(content))
    place = chance.randrange(len(chunks))
    kind, data = chunks[place]
    match chance.randrange(4):
        case 0:
            chunks[place : place + 1] = [chunks[place]] * chance.choice((0, 2, 100))
        case 1:
            bomb = zlib.compress(bytes(chance.choice((1 << 10, 1 << 20, 1 << 26))), 9)
            chunks[place] = (kind, bomb if kind == b"IDAT" else b"name\0\0" + bomb)
        case _:
            chunks[place] = (kind, chance.choice((flip, integer, integer, noise))(data, data, chance))
    return PNG_SIGNATURE + b"".join(png_chunk_bytes(kind, data) for kind, data in chunks)


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(PNG_SIGNATURE)
    while position + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        yield kind, content[position + 8 : position + 8 + length]
        position += 12 + length


def png_chunk_bytes(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zip_member(content: bytes, other: bytes, chance: Random) -> bytes:
    """One member damaged or renamed; the checksums are right. Checkpoints are such files too."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = [(member.filename, source.read(member)) for member in source.infolist()]
    members = [*members, *members[:1]] if chance.random() < 0.1 else members
    place = chance.choice((0, chance.randrange(len(members))))  # of a checkpoint, the first says what the others are
    name, data = members[place]
    renamed = chance.random() < 0.3
    members[place] = (chance.choice(NAMES), data) if renamed else (name, chance.choice(BYTES)(data, other, chance))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name or "x"), data)
    return target.getvalue()


def tar_member(content: bytes, _other: bytes, chance: Random) -> bytes:
    """One member renamed, or made a link, a device or a pipe; the checksums are right."""
    with tarfile.open(fileobj=io.BytesIO(content)) as source:
        members = [(member, read_member(source, member)) for member in source]
    member = chance.choice(members)[0]
    if chance.random() < 0.5:
        member.name = chance.choice(NAMES) or "x"
    else:
        kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        member.type, member.linkname = chance.choice(kinds), chance.choice(NAMES)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=chance.choice(("w", "w:gz"))) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return target.getvalue()


def read_member(source: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = source.extractfile(member) if member.isreg() else None
    return file.read() if file else b""
