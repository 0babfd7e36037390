"""Batches of a data set: endless and reproducible for training, every picture once for evaluation."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mbseg.errors import DataError

Key = tuple[int, int]  # (epoch, index)


class Samples(Protocol):
    """A split that is read picture by picture."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Key) -> Any: ...

    def collate(self, samples: Sequence[Any]) -> Any:
        """Samples of one size as a batch."""


def training_loader(
    dataset: Samples,
    batch_size: int,
    *,
    seed: int,
    start_step: int,
    steps: int,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    pin_memory: bool = False,
) -> "BatchLoader":
    """The `steps` batches from `start_step` on, `batch_size` pictures each on every one of `world` processes.

    Epochs follow one another without a gap, each in an order of its own, which (seed, epoch) decides; what is left
    of one after its last full batch is dropped. Raises DataError if there are too few pictures for one batch.
    """
    check_batch_size(len(dataset), batch_size, world)
    batches = TrainingBatches(len(dataset), batch_size, seed, start_step, steps, rank, world)
    return BatchLoader(dataset, batches, workers, pin_memory)


def evaluation_loader(
    dataset: Samples, *, workers: int = 0, rank: int = 0, world: int = 1, pin_memory: bool = False
) -> "BatchLoader":
    """Every picture once over all processes, in order, one a batch, as large as it is."""
    batches = [[(0, index)] for index in range(rank, len(dataset), world)]
    return BatchLoader(dataset, batches, workers, pin_memory)


def steps_per_epoch(pictures: int, batch_size: int, world: int = 1) -> int:
    """Full batches in one epoch."""
    return pictures // (batch_size * world)


def check_batch_size(pictures: int, batch_size: int, world: int = 1) -> None:
    """Raises DataError if there are too few pictures for one batch: incomplete ones are dropped."""
    if not steps_per_epoch(pictures, batch_size, world):
        raise DataError(
            f"{pictures} training pictures do not fill one batch of {batch_size} on {world} process(es); "
            "lower train.batch_size or add pictures"
        )


@dataclass(frozen=True)
class TrainingBatches:
    """The keys of the pictures in each of `steps` batches from `start_step` on.

    A step takes the next `batch_size * world` pictures of its epoch; process `rank` gets every `world`-th of them.
    """

    pictures: int
    batch_size: int
    seed: int
    start_step: int
    steps: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = steps_per_epoch(self.pictures, self.batch_size, self.world)
        step, stop = self.start_step, self.start_step + self.steps
        while step < stop:
            epoch, first = divmod(step, per_epoch)
            last = min(per_epoch, first + stop - step)
            yield from self._of_epoch(epoch, first, last)
            step += last - first

    def _of_epoch(self, epoch: int, first: int, last: int) -> Iterator[list[Key]]:
        """The batches `first` to `last` (not included) of one epoch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.pictures)
        together = self.batch_size * self.world
        for batch in range(first, last):
            chosen = order[batch * together : (batch + 1) * together]
            yield [(epoch, int(index)) for index in chosen[self.rank :: self.world]]


class BatchLoader:
    """Reads batches in worker processes, or in this one if there are none.

    A DataError in a worker is raised here as it was there. torch's own random numbers are left alone.
    """

    def __init__(
        self, dataset: Samples, batches: TrainingBatches | Sequence[list[Key]], workers: int, pin_memory: bool
    ) -> None:
        self.loader = DataLoader(
            ErrorsAsValues(dataset),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=partial(collate, dataset.collate),
            worker_init_fn=one_thread,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else torch's global one is drawn from
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)  # Python 3.12 on forking workers
            batches = iter(self.loader)
        for batch in batches:
            if isinstance(batch, DataError):
                raise batch
            yield batch


class ErrorsAsValues(Dataset[Any]):
    """Hands out a DataError instead of raising it: torch would rewrite one raised in a worker with its traceback."""

    def __init__(self, dataset: Samples) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Key) -> Any:
        try:
            return self.dataset[key]
        except DataError as error:
            return error


def collate(of_dataset: Callable[[Sequence[Any]], Any], samples: Sequence[Any]) -> Any:
    """A batch; the first error stands for it."""
    errors = [sample for sample in samples if isinstance(sample, DataError)]
    return errors[0] if errors else of_dataset(samples)


def one_thread(_worker: int) -> None:
    """Workers share the cores; each computes on one thread (torch limits its own)."""
    cv2.setNumThreads(0)
