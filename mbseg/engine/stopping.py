"""A training that is told to end does so between two steps, all its processes at the same one."""

import signal
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Protocol, Self, final

import torch

from mbseg.engine.distributed import Place, any_process
from mbseg.interruption import Interrupted, Interruption
from mbseg.tasks.base import sum_over_processes


class Batches(Protocol):
    """The share of one process."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Generator[Any, None, None]:
        """Closing it ends what reads ahead."""


class Stopped(Interrupted):
    """The wish to end is obeyed here."""


@final
class Stopping:
    """While it is open, the first signal to end is a wish that `obey` turns into Stopped; the second raises at once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.interruption = Interruption()

    def __enter__(self) -> Self:
        self.interruption.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.interruption.__exit__(*error)

    def obey(self) -> None:
        """Raises Stopped on all processes if any was told to end. All must come here."""
        if any_process(self.interruption.happened):
            raise Stopped(self.interruption.number or signal.SIGTERM)  # another one was told

    def between(self, batches: Batches) -> Iterator[Any]:
        """The batches, and `obey` before each; shares may differ by one."""
        shared = int(sum_over_processes(torch.tensor(len(batches)))) // self.place.world
        with closing(iter(batches)) as own:
            for done, batch in enumerate(own):
                if done < shared:
                    self.obey()
                yield batch
