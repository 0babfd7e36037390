"""Batches: reproducible from any step on, shared out among processes, honest about faults."""

import os
import signal
import struct
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path
from threading import Timer
from time import monotonic, sleep
from weakref import finalize

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mbseg.data.dataset import PairDataset
from mbseg.data.loaders import BatchLoader, TrainingBatches, evaluation_loader, steps_per_epoch, training_loader
from mbseg.data.samples import Pair
from mbseg.data.transforms import training_transform
from mbseg.errors import DataError

CLASSES = ("background", "thing")
few = st.integers(1, 5)


@pytest.fixture
def pairs(tmp_path) -> list[Pair]:
    """Seven small pictures of different sizes."""
    made = []
    for number in range(7):
        pair = Pair(f"p{number}", tmp_path / f"p{number}.png", tmp_path / f"m{number}.png")
        labels = np.random.default_rng(number).integers(0, 2, (20 + number, 30), np.uint8)
        Image.fromarray(np.repeat(labels[..., None] * 99, 3, axis=2)).save(pair.image)
        Image.fromarray(labels).save(pair.mask)
        made.append(pair)
    return made


@pytest.fixture
def training(pairs) -> PairDataset:
    return PairDataset(pairs, CLASSES, transform=training_transform((16, 24), brightness=0.3), seed=3)


def batches(dataset: PairDataset, start_step: int, steps: int, **options) -> list:
    return list(training_loader(dataset, 2, seed=3, start_step=start_step, steps=steps, **options))


def assert_same(these: list, those: list) -> None:
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        assert this.names == that.names
        assert torch.equal(this.images, that.images)
        assert torch.equal(this.masks, that.masks)


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_in_mid_epoch_gives_the_batches_of_an_unbroken_run(training, workers) -> None:
    unbroken = batches(training, 0, 8)
    assert_same(batches(training, 0, 4) + batches(training, 4, 4, workers=workers), unbroken)


@given(few, few, few, st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 9))
def test_any_step_can_be_the_first(batch_size, world, spare, start, steps, more, seed) -> None:
    pictures = batch_size * world + spare
    first = list(TrainingBatches(pictures, batch_size, seed, start, steps, 0, world))
    rest = list(TrainingBatches(pictures, batch_size, seed, start + steps, more, 0, world))
    assert first + rest == list(TrainingBatches(pictures, batch_size, seed, start, steps + more, 0, world))


@given(few, few, st.integers(0, 30), st.integers(0, 9))
def test_no_picture_comes_twice_in_an_epoch_whatever_the_processes(batch_size, world, spare, seed) -> None:
    pictures = batch_size * world + spare
    steps = steps_per_epoch(pictures, batch_size, world)
    keys = [
        key
        for rank in range(world)
        for batch in TrainingBatches(pictures, batch_size, seed, steps, steps, rank, world)
        for key in batch
    ]
    assert {epoch for epoch, _ in keys} == {1}
    assert len({index for _, index in keys}) == len(keys) == steps * batch_size * world


@given(few, few, st.integers(0, 9))
def test_several_processes_take_together_what_one_would(batch_size, world, seed) -> None:
    alone = TrainingBatches(50, batch_size * world, seed, 0, 4)
    together = zip(*(TrainingBatches(50, batch_size, seed, 0, 4, rank, world) for rank in range(world)), strict=True)
    for one, parts in zip(alone, together, strict=True):
        assert sorted(one) == sorted(key for part in parts for key in part)


def test_epochs_have_orders_of_their_own() -> None:
    orders = [[key[1] for batch in TrainingBatches(20, 20, 0, epoch, 1) for key in batch] for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_augmentation_changes_from_epoch_to_epoch(training) -> None:
    assert (training[0, 1].image == training[0, 1].image).all()
    assert (training[0, 1].image != training[1, 1].image).any()
    assert (training[1].image == training[0, 1].image).all()


def test_a_batch_is_uint8_in_the_shapes_promised(training) -> None:
    (batch,) = batches(training, 0, 1)
    assert (batch.images.shape, batch.masks.shape) == ((2, 3, 16, 24), (2, 16, 24))
    assert batch.images.dtype == batch.masks.dtype == torch.uint8


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_numbers_of_torch_are_left_alone(training, workers) -> None:
    before = torch.get_rng_state()
    batches(training, 0, 3, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_too_few_pictures_for_one_batch_is_said_before_training(training) -> None:
    with pytest.raises(DataError, match=r"7 training pictures do not fill one batch of 4 on 2 process"):
        training_loader(training, 4, seed=0, start_step=0, steps=1, world=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_every_picture_once_in_order_at_its_own_size(pairs, workers) -> None:
    loader = evaluation_loader(PairDataset(pairs, CLASSES), workers=workers)
    for _again in range(2):
        seen = list(loader)
        assert [batch.names for batch in seen] == [[pair.name] for pair in pairs]
        assert [batch.masks.shape for batch in seen] == [(1, 20 + number, 30) for number in range(7)]


@pytest.mark.parametrize("world", [1, 2, 3, 9])
def test_evaluation_on_several_processes_sees_every_picture_once(pairs, world) -> None:
    loaders = [evaluation_loader(PairDataset(pairs, CLASSES), rank=rank, world=world) for rank in range(world)]
    seen = [name for loader in loaders for batch in loader for name in batch.names]
    assert sorted(seen) == [pair.name for pair in pairs]
    assert sum(map(len, loaders)) == 7


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_reaches_the_user_by_its_own_one_line(pairs, workers) -> None:
    pairs[4].image.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        list(evaluation_loader(PairDataset(pairs, CLASSES), workers=workers))
    assert str(caught.value).startswith(str(pairs[4].image))
    assert "\n" not in str(caught.value)
    assert "worker" not in str(caught.value)


class Deadly:
    """Eight pictures; the worker that reads the sixth dies as it is told to."""

    def __init__(self, end) -> None:
        self.end = end

    def __len__(self) -> int:
        return 8

    def __getitem__(self, key) -> np.ndarray:
        if key[1] == 5:
            self.end()
        return np.zeros(4, np.uint8)

    def files(self, index: int) -> list[Path]:
        return [Path(f"picture{index}.jpg"), Path(f"mask{index}.png")]

    def collate(self, samples) -> list[torch.Tensor]:
        return [torch.from_numpy(np.stack(samples))]


def kill_this() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(0)


@pytest.mark.parametrize(("end", "cause"), [(kill_this, "SIGKILL"), (leave, "exit code 0")])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_worker_that_dies_is_told_with_what_it_read_and_takes_the_others_along(end, cause, workers) -> None:
    before, begin = active_children(), monotonic()
    loader = evaluation_loader(Deadly(end), workers=workers)
    with pytest.raises(DataError, match=rf"died \({cause}\) while it read picture5\.jpg and mask5\.png; ") as caught:
        list(loader)
    assert str(caught.value).isprintable()
    assert monotonic() - begin < 20  # torch alone would wait for ever, or look every five seconds
    assert [child for child in active_children() if child not in before] == []


def test_a_death_between_two_batches_waits_for_the_next_and_disturbs_nothing(training) -> None:
    before = active_children()
    loader = iter(training_loader(training, 2, seed=3, start_step=0, steps=50, workers=1))
    next(loader)
    (worker,) = [child for child in active_children() if child not in before]
    handler = signal.getsignal(signal.SIGCHLD)
    worker.kill()
    sleep(0.2)  # in which torch's own handler would raise
    assert handler in (signal.SIG_DFL, None, signal.SIG_IGN) or "torch" not in getattr(handler, "__module__", "")
    with pytest.raises(DataError, match=r"a loader worker died \(SIGKILL\)"):
        next(loader)


class KillsInAFinaliser:
    """Batches of a picture each; while the fifth is put in hand, a finaliser kills the workers and waits for it."""

    def __init__(self) -> None:
        self.before = active_children()

    def __len__(self) -> int:
        return 8

    def __iter__(self):
        yield from ([(0, index)] for index in range(4))
        anything = Deadly(None)
        finalize(anything, self.kill)
        del anything
        yield from ([(0, index)] for index in range(4, 8))

    def kill(self) -> None:
        for child in active_children():
            if child not in self.before:
                child.kill()
        sleep(0.3)


def test_a_death_heard_in_a_finaliser_is_told_all_the_same() -> None:
    """What is raised in one is printed, and lost."""
    with pytest.raises(DataError, match=r"a loader worker died \(SIGKILL\)"):
        list(BatchLoader(Deadly(lambda: None), KillsInAFinaliser(), workers=1, pin_memory=False))


def test_a_worker_that_dies_amid_a_message_does_not_stop_the_reader_for_ever() -> None:
    loader = evaluation_loader(Deadly(lambda: sleep(60)), workers=1)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    loader.watch.queue._writer._send(struct.pack("!i", 1000))  # the length of a message, and no more of it
    Timer(0.5, loader.watch.processes[0].kill).start()
    with pytest.raises(DataError, match=r"died \(SIGKILL\) while it read picture5"):
        next(batches)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_leave_signals_to_their_parent(training, number) -> None:
    before = active_children()
    loader = iter(training_loader(training, 2, seed=3, start_step=0, steps=9, workers=1))
    next(loader)
    (worker,) = [child for child in active_children() if child not in before]
    os.kill(worker.pid, number)
    assert len(list(loader)) == 8


ORPHANS = """
import os, signal, sys
from multiprocessing import active_children
sys.path.insert(0, sys.argv[1])
from tests.unit.test_data_loaders import Deadly
from mbseg.data.loaders import evaluation_loader
loader = iter(evaluation_loader(Deadly(lambda: None), workers=2))
next(loader)
print(*(child.pid for child in active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_workers_die_with_a_parent_that_is_killed() -> None:
    root = str(Path(__file__).parents[2])
    run = subprocess.run([sys.executable, "-c", ORPHANS, root], capture_output=True, text=True, timeout=120)
    workers = [int(pid) for pid in run.stdout.split()]
    assert len(workers) == 2
    limit = monotonic() + 5
    while any(is_running(pid) for pid in workers) and monotonic() < limit:
        sleep(0.05)
    assert not any(is_running(pid) for pid in workers)


def is_running(pid: int) -> bool:
    """Zombies are not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_batch_that_finds_no_shared_memory_is_one_line(training, monkeypatch) -> None:
    def full(_tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # forked workers have it too
    with pytest.raises(DataError, match=r"cannot hand over its batch .*No space left.*/dev/shm full"):
        batches(training, 0, 2, workers=1)


LEFT_BY = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.unit.test_data_loaders import Deadly
from mbseg.data.loaders import evaluation_loader
loader = evaluation_loader(Deadly(lambda: None), workers=2)
next(iter(loader))
"""


def test_workers_that_are_ended_leave_no_sockets_behind(tmp_path) -> None:
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", LEFT_BY, root], env={**os.environ, "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
