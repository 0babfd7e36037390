"""Batches of a data set: endless and reproducible for training, every picture once for evaluation."""

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mbseg.data.workers import ADVICE, NONE, Readings, Watch
from mbseg.errors import DataError, first_line

Key = tuple[int, int]  # (epoch, index)


class Samples(Protocol):
    """A split that is read picture by picture."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Key) -> Any: ...

    def files(self, index: int) -> Sequence[Path]:
        """What is read for a picture."""

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

    A DataError in a worker is raised here as it was there, and so is one that names the files a worker read when it
    died. torch's own random numbers are left alone.
    """

    def __init__(
        self, dataset: Samples, batches: TrainingBatches | Sequence[list[Key]], workers: int, pin_memory: bool
    ) -> None:
        readings = Readings(workers)
        self.watch = Watch(readings, dataset.files)
        with quiet_start():
            self.loader = DataLoader(
                Watched(dataset, readings),
                batch_sampler=batches,
                num_workers=workers,
                collate_fn=partial(collate, dataset.collate),
                worker_init_fn=readings.begin_worker,
                persistent_workers=workers > 0,
                pin_memory=pin_memory,
                generator=torch.Generator(),  # else torch's global one is drawn from
            )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Generator[Any, None, None]:
        with quiet_start(), self.watch.starting():
            batches = iter(self.loader)
        if not self.loader.pin_memory:  # else a thread of torch's reads it
            self.watch.queue = getattr(batches, "_worker_result_queue", None)
        try:
            yield from self._received(batches)
        except BaseException:  # whoever leaves half-way wants no more: torch would wait for its workers
            self.watch.kill()
            raise

    def _received(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self.watch.waiting():
                batch = next(batches, None)
            if batch is None:
                return
            if isinstance(batch, DataError):
                raise batch
            yield batch


class Watched(Dataset[Any]):
    """Notes what is read. Hands out a DataError instead of raising it: torch would add a worker's traceback to it."""

    def __init__(self, dataset: Samples, readings: Readings) -> None:
        self.dataset = dataset
        self.readings = readings

    def __getitem__(self, key: Key) -> Any:
        self.readings.note(key[1])
        try:
            return self.dataset[key]
        except DataError as error:
            return error
        finally:
            self.readings.note(NONE)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Without torch's word on more workers than cores, which the user asked for, and Python 3.12's on forks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*worker processes in total", UserWarning)
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        yield


def collate(of_dataset: Callable[[Sequence[Any]], Any], samples: Sequence[Any]) -> Any:
    """A batch; the first error stands for it."""
    errors = [sample for sample in samples if isinstance(sample, DataError)]
    return errors[0] if errors else handed_over(of_dataset(samples))


def handed_over(batch: Any) -> Any:
    """A worker's batch in the memory that its parent shares: torch would put it there in a thread, whose error nobody
    hears, so that the parent would wait for ever.
    """
    if get_worker_info() is None:
        return batch
    try:
        for value in batch:
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, torch.Tensor):
                    part.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return DataError(f"a loader worker cannot hand over its batch ({first_line(error)}); {ADVICE['SIGBUS']}")
    return batch
