"""One process or many: started by torchrun, or not at all."""

import os
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Place(NamedTuple):
    """Which process of how many this is."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """The one that writes files and speaks."""
        return self.rank == 0


def start(device: torch.device) -> Place:
    """Joins the processes that torchrun has started; alone without torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Place()
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        dist.barrier()  # nobody writes before all have looked
    return Place(dist.get_rank(), dist.get_world_size())


def local_device(device: torch.device) -> torch.device:
    """Of several GPUs, the one of this process."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def take_from_main(tensors: Iterable[Tensor]) -> None:
    """Gives every process the main one's values; batch-norm statistics differ between two forward passes."""
    if dist.is_available() and dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def stop() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
