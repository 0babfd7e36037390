"""One process or many: started by torchrun, or not at all."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mbseg.errors import ConfigError, MbsegError, RunError
from mbseg.torchrun import is_one_of_several, meet

Made = TypeVar("Made")

PATIENCE = timedelta(minutes=10)  # with a process that neither goes on nor ends: none writes or draws for so long


class Place(NamedTuple):
    """Which process of how many this is."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """The one that writes files and speaks."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """The indices that are this process's, dealt out one by one."""
        return range(self.rank, count, self.world)


@contextmanager
def joined(device: torch.device) -> Iterator[Place]:
    """Together with the processes that torchrun has started, until all are done; alone without torchrun.

    A process that fails goes at once: NCCL would take its leave of the others, who wait for it elsewhere.
    """
    place = start(device)
    yield place
    stop()


def start(device: torch.device) -> Place:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Place()
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # flags, counts and objects go from CPU to CPU, whatever computes
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, rank, world = meet(PATIENCE)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    return Place(dist.get_rank(), dist.get_world_size())


def local_device(device: torch.device) -> torch.device:
    """Of several GPUs, the one of this process. Raises ConfigError where there are fewer than processes."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= there:
        raise ConfigError(f"this machine has {there} GPU(s); start no more processes on it (--nproc-per-node {there})")
    return torch.device("cuda", number)


def any_process(flag: bool) -> bool:
    """On every process, whether the flag is up on any of them; all must ask."""
    if not is_one_of_several():
        return flag
    answer = torch.tensor(int(flag))
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)


def on_main(place: Place, work: Callable[[], Made]) -> Made:
    """What `work` gives, for every process; the main one alone does it, and all must come here.

    An MbsegError or OSError that it raises is raised on the others too, as a RunError, so that none waits for ever.
    """
    if place.world == 1:
        return work()
    outcome: list[Any] = [None, None]  # what was made, and what went wrong
    failure: MbsegError | OSError | None = None
    if place.is_main:
        try:
            outcome[0] = work()
        except (MbsegError, OSError) as error:
            failure, outcome[1] = error, str(error)
    dist.broadcast_object_list(outcome)
    if failure:
        raise failure
    made, told = outcome
    if told is not None:
        raise RunError(told)
    return made  # type: ignore[no-any-return]


def take_from_main(tensors: Iterable[Tensor]) -> None:
    """Gives every process the main one's values; batch-norm statistics differ between two forward passes."""
    if is_one_of_several():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def stop() -> None:
    if is_one_of_several():
        dist.destroy_process_group()
