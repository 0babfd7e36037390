"""What several processes agree on, and losses that do not depend on how pictures are dealt out to them."""

import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, distributed

from mbseg.boxes.detections import Objects, RawDetections
from mbseg.engine.distributed import Place, any_process, joined, on_main
from mbseg.errors import DataError, MbsegError, RunError
from mbseg.interruption import Interrupted, endings_at_once
from mbseg.metrics.gather import dealt_back, own_share
from mbseg.tasks.detection_losses import DetectionLoss, DetectionLossOptions
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.torchrun import accept
from tests.machines.starting import free_port
from tests.unit.test_engine_nonfinite import state_of, trainer

WORLD = 2
ALONE = Place()
CPU = torch.device("cpu")


def spread(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOGITS = spread(1, 4, 5, 9, 9)
MASKS = torch.randint(0, 5, (4, 33, 33), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
MASKS[0, :30] = 255
UNEVEN = {"some of 255": MASKS, "one with nothing but 255": torch.cat([MASKS[:2], torch.full_like(MASKS[2:], 255)])}
PIXEL_LOSSES = {
    "cross entropy": LossWeights(label_smoothing=0.1, classes=(1.0, 2.0, 3.0, 4.0, 5.0)),
    "dice": LossWeights(cross_entropy=0, dice=1),
    "focal": LossWeights(cross_entropy=0, focal=1),
}
BOXES = torch.tensor([[x, y, x + 12, y + 12] for x in range(0, 40, 8) for y in range(0, 40, 8)], dtype=torch.float64)
RAW = RawDetections(spread(3, 4, len(BOXES), 4), spread(4, 4, len(BOXES), 4))
OBJECTS = [
    Objects(torch.tensor([[1.0, 1, 12, 12], [20, 20, 30, 33]]), torch.tensor([0, 2])),
    Objects(torch.tensor([[8.0, 9, 21, 20]]), torch.tensor([1])),
    *[Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))] * 2,  # all of the second process
]
BOX_LOSSES = {
    "softmax": DetectionLossOptions(least_negatives=3),
    "focal": DetectionLossOptions(classification="focal"),
}


def losses(place: Place) -> dict[str, tuple[list[float], Tensor]]:
    """By name, the values and the gradient of each loss over this process's pictures, two of four."""
    mine = slice(0, 4) if place.world == 1 else slice(2 * place.rank, 2 * place.rank + 2)
    made = {}
    for masks_name, masks in UNEVEN.items():
        for name, weights in PIXEL_LOSSES.items():
            logits = LOGITS[mine].clone().requires_grad_()
            loss = SegmentationLoss(weights, align_corners=True).double()
            made[f"{name}, {masks_name}"] = followed(loss(logits, masks[mine]), logits)
    for name, options in BOX_LOSSES.items():
        inputs = [part[mine].clone().requires_grad_() for part in RAW]
        made[name] = followed(DetectionLoss(options)(RawDetections(*inputs), BOXES, OBJECTS[mine]), *inputs)
    return made


def followed(named: dict[str, Tensor], *inputs: Tensor) -> tuple[list[float], Tensor]:
    torch.stack(list(named.values())).sum().backward()
    return [value.item() for value in named.values()], torch.cat([part.grad for part in inputs], 2 if inputs[1:] else 0)


def fail() -> None:
    raise DataError("a.jpg is damaged")


def ask(rank: int, port: int, folder: Path) -> None:
    """Started as launchers other than torchrun do: there is no store but that of the main process."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined(CPU) as place:
        torch.save(answers_of(place, folder), folder / f"{rank}.pt")


def answers_of(place: Place, folder: Path) -> dict[str, Any]:
    rank = place.rank
    answers: dict[str, Any] = {
        "place": tuple(place),
        "share": own_share("abcde"),
        "one": any_process(rank == 1),
        "none": any_process(False),
        "main": on_main(place, lambda: {"done by": rank}),
        "losses": losses(place),
    }
    try:
        on_main(place, fail)
    except MbsegError as error:
        answers["error"] = str(error)
    for name, bad in {"no": set(), "the first": {1} - {rank}, "the second": {1} & {rank}}.items():
        trained = trainer(folder / name, steps=3, bad=bad, place=place)
        answers[f"{name} NaN"] = trained.fit().skipped, state_of(trained)
    trained = trainer(folder / "infinite", steps=3, bad=set(), place=place)
    forward, far = trained.task.forward, iter([0.0, torch.inf if rank else 0.0, 0.0])
    trained.task.forward = lambda batch: {**forward(batch), "far": torch.tensor(next(far))}
    answers["infinite loss"] = trained.fit().skipped, state_of(trained)
    return answers


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of two processes."""
    folder = tmp_path_factory.mktemp("processes")
    port = free_port()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=ask, args=(rank, port, folder)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def test_processes_of_any_launcher_meet(answers: list[dict[str, Any]]) -> None:
    assert [each["place"] for each in answers] == [(0, WORLD), (1, WORLD)]


def test_a_launcher_that_does_not_say_where_to_meet_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="WORLD_SIZE is set, RANK and MASTER_ADDR and MASTER_PORT not"), joined(CPU):
        pass


def test_who_waits_for_the_main_process_hears_signals() -> None:
    store = distributed.HashStore()
    store.set_timeout(timedelta(seconds=60))
    told = Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    told.start()
    begun = monotonic()
    with pytest.raises(Interrupted), endings_at_once():
        accept(store, 1, timedelta(seconds=60))
    assert monotonic() - begun < 30  # not when the store gives up


def test_who_waits_for_the_main_process_gives_up() -> None:
    with pytest.raises(RunError, match="not all processes came within"):
        accept(distributed.HashStore(), 1, timedelta(seconds=0.1))


def test_work_is_dealt_out_one_by_one(answers: list[dict[str, Any]]) -> None:
    assert [each["share"] for each in answers] == ["ace", "bd"]
    assert own_share("abcde") == "abcde"


def test_all_processes_know_what_any_of_them_says(answers: list[dict[str, Any]]) -> None:
    assert [each["one"] for each in answers] == [True, True]
    assert [each["none"] for each in answers] == [False, False]


def test_the_main_process_works_for_all_and_fails_for_all(answers: list[dict[str, Any]]) -> None:
    assert [each["main"] for each in answers] == [{"done by": 0}] * WORLD
    assert [each["error"] for each in answers] == ["a.jpg is damaged"] * WORLD


def test_a_step_that_is_not_finite_on_one_process_is_skipped_by_all(answers: list[dict[str, Any]]) -> None:
    for each in answers:
        ways = "no NaN", "the first NaN", "the second NaN", "infinite loss"
        assert [each[way][0] for way in ways] == [0, 1, 1, 1]
        skipped = each["the second NaN"][1]
        assert are_equal(skipped, each["the first NaN"][1])
        assert are_equal(skipped, each["infinite loss"][1])  # its gradients are finite
        assert are_equal(skipped, answers[0]["the second NaN"][1])
        assert not are_equal(skipped, each["no NaN"][1])


def are_equal(these: list[Tensor], those: list[Tensor]) -> bool:
    """Not where one is NaN."""
    return all(map(torch.equal, these, those))


def test_alone_a_process_answers_itself() -> None:
    assert any_process(True) and not any_process(False)
    assert on_main(ALONE, lambda: 3) == 3
    with pytest.raises(DataError):
        on_main(ALONE, fail)


def test_two_processes_have_the_losses_and_gradients_of_one_with_all_pictures(answers: list[dict[str, Any]]) -> None:
    for name, (values, gradient) in losses(ALONE).items():
        parts = [each["losses"][name] for each in answers]
        for its_values, _ in parts:
            torch.testing.assert_close(its_values, values, rtol=1e-12, atol=1e-14, msg=name)
        averaged = torch.cat([part for _, part in parts]) / WORLD  # as DDP does
        torch.testing.assert_close(averaged, gradient, rtol=1e-12, atol=1e-14, msg=name)
        assert gradient.abs().max() > 1e-4


@given(st.integers(0, 30), st.integers(1, 7))
def test_what_was_dealt_out_comes_back_in_order(count: int, world: int) -> None:
    parts = [list(Place(rank, world).share(count)) for rank in range(world)]
    assert dealt_back(parts) == list(range(count))
