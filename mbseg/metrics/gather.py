"""What the processes of an evaluation have each collected, put together."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

Item = TypeVar("Item")


def gathered(items: list[Item]) -> list[Item]:
    """The items of all processes, in the order of the processes; of a single one, its own."""
    if not is_one_of_several():
        return items
    parts: list[list[Item]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def summed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counts of all processes added up; of a single one, its own."""
    if not is_one_of_several():
        return counts
    total = torch.tensor(counts, device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(total)
    return total.cpu().numpy()


def is_one_of_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
