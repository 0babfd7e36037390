"""What is rounded to 8 bits in an exported graph, whichever library does it.

Only the network itself is: what stands between its first and its last convolutions. Preprocessing, upsampling,
arg-max, the decoding of boxes and their suppression stay in float, where they cost little and decide between numbers
that lie closer together than 8 bits can tell.
"""

from collections.abc import Mapping, Set
from typing import Protocol

from mbseg.runtime.answers import UInt8Array


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
