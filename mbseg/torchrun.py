"""Processes that torchrun has started together: how they find each other, and which of them says why they ended."""

import os
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import torch.distributed as dist

from mbseg.errors import RunError

Store = Any  # torch's, which not every build of torch has

ANSWERS_WITHIN = timedelta(seconds=5)  # torchrun, which lives longer than the processes
FAILURES = "mbseg/failures"
MEETING = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # as every launcher names them
GLOO = "/gloo/"  # its errors are plain RuntimeErrors that name its own source files


def is_one_of_several() -> bool:
    """Whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()


def meet(patience: timedelta) -> tuple[Store, int, int]:
    """A store that these very processes share, the rank of this one, and how many they are.

    torchrun's own store outlives a restart, and holds the addresses of processes that were killed: whoever reads them
    waits for the dead. Raises RunError if the others do not come, or if it is not said where they meet.
    """
    if missing := [name for name in MEETING if name not in os.environ]:
        raise RunError(f"WORLD_SIZE is set, {' and '.join(missing)} not; start with torchrun, or unset WORLD_SIZE")
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # other launchers have no store of their own
    store = common_store(patience, serves=rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True")
    name = invite(store, world, patience) if rank == 0 else accept(store, rank, patience)
    if rank == 0:
        store.delete_key(FAILURES)
    return dist.PrefixStore(name, store), rank, world  # type: ignore[attr-defined]


def invite(store: Store, world: int, patience: timedelta) -> str:
    """A new name, which all others have answered; the asking of those that were killed is answered in vain."""
    name = uuid4().hex
    for _ in waiting(patience):
        if store.check([f"{name}/{rank}" for rank in range(1, world)]):
            break
        for asking in (f"mbseg/asking/{rank}" for rank in range(1, world)):
            if store.check([asking]):
                store.set(f"mbseg/name for {store.get(asking).decode()}", name)
    return name


def accept(store: Store, rank: int, patience: timedelta) -> str:
    """The name that the main process has given to those that live now."""
    me = uuid4().hex
    store.set(f"mbseg/asking/{rank}", me)
    for _ in waiting(patience):
        if store.check([f"mbseg/name for {me}"]):
            break
    name: str = store.get(f"mbseg/name for {me}").decode()
    store.set(f"{name}/{rank}", "here")
    return name


def waiting(patience: timedelta) -> Iterator[None]:
    """Moments to look whether the others have come; inside torch's own waiting no signal is heard."""
    late = monotonic() + patience.total_seconds()
    while monotonic() < late:
        yield
        sleep(0.05)
    raise RunError(f"not all processes came within {patience}; look at what torchrun says of them")


def common_store(patience: timedelta, *, serves: bool) -> Store:
    """Where all processes meet, which one of them serves if torchrun does not."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # of several stores of one process the first one serves
    return dist.TCPStore(address, port, is_master=serves, timeout=patience, multi_tenant=True)  # type: ignore[attr-defined]


def is_first_to_fail() -> bool:
    """Whether none of the processes started together has asked before; True where torchrun does not answer."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    try:
        return bool(common_store(ANSWERS_WITHIN, serves=False).add(FAILURES, 1) == 1)
    except (KeyError, ValueError, dist.DistError):
        return True


def is_of_another(error: RuntimeError) -> bool:
    """Whether it tells that another process has gone, not what is wrong with this one."""
    return dist.is_available() and (isinstance(error, dist.DistError) or GLOO in str(error))
