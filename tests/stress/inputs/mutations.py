"""Damage to any bytes, and to texts: every function takes the content, another content of its kind and chance."""

import struct
from collections.abc import Callable
from random import Random

Mutation = Callable[[bytes, bytes, Random], bytes]

EDGES = (
    0,
    1,
    2,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
FORMS = ("<B", ">B", "<H", ">H", "<I", ">I", "<Q", ">Q")
HEADERS = (64, 4096)  # bytes in which most formats keep their sizes, and zip files their list at the end
LONGEST = 4 << 20  # bytes of an input
TOKENS = (
    *(b"-1", b"0", b"1e400", b"-1e400", b"NaN", b"Infinity", b"1e-400", b"99999999999999999999", b"9" * 5000),
    *(b"null", b"true", b"[]", b"{}", b'""', b"''", b"~", b"", b" ", b"\t", b"\n", b"\r\n", b"\x00", b"\x1b[2J"),
    *(b"../../outside.txt", b"/etc/passwd", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"%s%n", b"A" * 70_000),
    *("é".encode(), "\u2028".encode(), b"[" * 10_000, b"{" * 10_000, b"&a;", b"<a>" * 10_000, b"*a", b"&a [*a, *a]"),
)


def any_place(content: bytes, chance: Random) -> int:
    """More often where the sizes are than where the values are."""
    header = min(chance.choice(HEADERS), len(content))
    first, end = chance.choice(((0, header), (0, len(content)), (len(content) - header, len(content))))
    return chance.randrange(first, end) if content else 0


def flip(content: bytes, _other: bytes, chance: Random) -> bytes:
    """One to eight bits."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        if changed:
            changed[any_place(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(content: bytes, _other: bytes, chance: Random) -> bytes:
    return content[: any_place(content, chance)]


def cut_out(content: bytes, _other: bytes, chance: Random) -> bytes:
    first, length = any_place(content, chance), chance.choice((1, 2, 4, 16, 256))
    return content[:first] + content[first + length :]


def duplicate(content: bytes, _other: bytes, chance: Random) -> bytes:
    """A piece, twice to a thousand times."""
    first, length = any_place(content, chance), chance.choice((1, 4, 16, 256))
    piece = content[first : first + length]
    times = min(chance.choice((2, 3, 1000)), max(2, LONGEST // max(1, len(content))))
    return content[:first] + piece * times + content[first + length :]


def splice(content: bytes, other: bytes, chance: Random) -> bytes:
    """The beginning of one and the end of another."""
    return content[: any_place(content, chance)] + other[any_place(other, chance) :]


def integer(content: bytes, _other: bytes, chance: Random) -> bytes:
    """A number of the kind that sizes and offsets overflow at, in place of some bytes."""
    form = chance.choice(FORMS)
    value = struct.pack(form, chance.choice(EDGES) % 256 ** struct.calcsize(form))
    first = any_place(content, chance)
    return content[:first] + value + content[first + len(value) :]


def noise(content: bytes, _other: bytes, chance: Random) -> bytes:
    first, length = any_place(content, chance), chance.choice((1, 4, 64, 1024))
    return content[:first] + chance.randbytes(length) + content[first + length :]


BYTES: tuple[Mutation, ...] = (flip, truncate, cut_out, duplicate, splice, integer, noise)


def token(content: bytes, _other: bytes, chance: Random) -> bytes:
    """A word of a text becomes a strange one."""
    words = content.split()
    if not words:
        return chance.choice(TOKENS)
    return content.replace(chance.choice(words), chance.choice(TOKENS), chance.choice((1, 1, -1)))[:LONGEST]


def line(content: bytes, other: bytes, chance: Random) -> bytes:
    """A line of a text is lost, comes twice, or another one's comes in."""
    lines, others = content.splitlines(keepends=True), other.splitlines(keepends=True)
    if not lines:
        return other
    place = chance.randrange(len(lines))
    new = chance.choice(([], lines[place : place + 1] * 2, [chance.choice(others)] if others else []))
    return b"".join([*lines[:place], *new, *lines[place + 1 :]])


def inserted(content: bytes, _other: bytes, chance: Random) -> bytes:
    place = any_place(content, chance)
    return content[:place] + chance.choice(TOKENS) + content[place:]


TEXT: tuple[Mutation, ...] = (*BYTES, token, token, token, line, line, inserted)
