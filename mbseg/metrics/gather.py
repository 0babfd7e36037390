"""What the processes of an evaluation have each collected, put together."""

from typing import TypeVar

from torch import distributed

Item = TypeVar("Item")


def gathered(items: list[Item]) -> list[Item]:
    """The items of all processes, in the order of the processes; of a single one, its own."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return items
    parts: list[list[Item]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]
