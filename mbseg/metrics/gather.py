"""What the processes of an evaluation have each collected, put together."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from mbseg.torchrun import is_one_of_several

Item = TypeVar("Item")


def own_share(items: Sequence[Item]) -> Sequence[Item]:
    """What is this process's to do, dealt out one by one; of a single one, all."""
    if not is_one_of_several():
        return items
    return items[distributed.get_rank() :: distributed.get_world_size()]


def gathered(items: list[Item]) -> list[Item]:
    """The items of all processes in the order of the split, of which process r of n has r, r + n, r + 2 n ..."""
    if not is_one_of_several():
        return items
    parts: list[list[Item]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, items)
    return dealt_back(parts)


def dealt_back(parts: list[list[Item]]) -> list[Item]:
    """The first of each part, then the second of each, and so on; the last ones may be one shorter."""
    nothing: Any = object()
    rounds = zip_longest(*parts, fillvalue=nothing)
    return [item for item in chain.from_iterable(rounds) if item is not nothing]


def summed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counts of all processes added up; of a single one, its own."""
    if not is_one_of_several():
        return counts
    total = torch.tensor(counts)
    distributed.all_reduce(total)
    return total.numpy()
