"""What is rounded to 8 bits in an exported graph, whichever library does it.

Only the network itself is: what stands between its first and its last convolutions. Preprocessing, upsampling,
arg-max, the decoding of boxes and their suppression stay in float, where they cost little and decide between numbers
that lie closer together than 8 bits can tell.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Set
from typing import Protocol

from mbseg.runtime.answers import UInt8Array

SPEAKERS = ("nncf", "torch.utils.cpp_extension")


class Pictures(Protocol):
    """RGB pictures [H, W, 3] to calibrate with; they may be read one by one, when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> UInt8Array:
        """Raises IndexError behind the last."""


def between(nodes: Set[str], followers: Mapping[str, Set[str]]) -> set[str]:
    """All on the way from one of `nodes` to another, both included; `followers` are the edges of a graph."""
    leaders: dict[str, set[str]] = {}
    for leader, those in followers.items():
        for follower in those:
            leaders.setdefault(follower, set()).add(leader)
    return reachable(nodes, followers) & reachable(nodes, leaders)


def reachable(nodes: Set[str], edges: Mapping[str, Set[str]]) -> set[str]:
    """`nodes` and all that edges lead to from them."""
    found, waiting = set(nodes), [*nodes]
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Without the quantisers' progress bars and remarks, which go to stdout and to the log."""
    loggers = [logging.getLogger(name) for name in SPEAKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
