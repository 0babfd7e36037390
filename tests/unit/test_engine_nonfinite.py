"""Steps that are not finite leave no trace; a batch of which nothing is known costs nothing."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mbseg.engine.distributed import Place
from mbseg.engine.fit import FitSettings, Hooks, Trainer
from mbseg.engine.optim import OptimizerSettings
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.schedule import Schedule
from mbseg.errors import RunError
from mbseg.tasks.losses import IGNORE_INDEX, LossWeights, SegmentationLoss
from tests.unit.test_engine import TinyTask

CPU = torch.device("cpu")
ALONE = Place()


class Pictures(tuple[Tensor]):
    """A batch, as the engine takes it: a named tuple of one tensor."""

    def __new__(cls, images: Tensor) -> "Pictures":
        return super().__new__(cls, (images,))


class Mean:
    """A metric that counts pictures."""

    def __init__(self) -> None:
        self.pictures = 0

    def update(self, predictions: Tensor, _batch: Pictures) -> None:
        self.pictures += len(predictions)

    def merge(self) -> None: ...

    def compute(self) -> dict[str, float]:
        return {"score": float(self.pictures)}


class PicturesTask(TinyTask):
    """Its loss is not finite where the pictures are not, or where it is told to be."""

    score = "score"
    factor = 1.0

    def forward(self, batch: Pictures) -> dict[str, Tensor]:
        (images,) = batch
        return {"mean": super().forward(images)["loss"] * self.factor, "other": images.sum() * 0}

    def predict(self, batch: Pictures) -> Tensor:
        return batch[0]

    def metric(self) -> Mean:
        return Mean()


@dataclass(frozen=True)
class Source:
    """Batches by number, from `first` on; some hold a NaN."""

    first: int = 0
    bad: frozenset[int] = frozenset()
    count: int = 100

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Generator[Pictures, None, None]:
        for number in range(self.first, self.first + self.count):
            images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(number))
            if number in self.bad:
                images[0, 0, 0, 0] = torch.nan
            yield Pictures(images)


def trainer(folder: Path, *, steps: int, bad: set[int], place: Place = ALONE, **settings: object) -> Trainer:
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    hooks = Hooks(
        batches=lambda first: Source(first, frozenset(bad)),
        validation=lambda: Source(count=1),
        save_best=lambda _state, _scores: None,
        draw=lambda _step: None,
    )
    fit = FitSettings(
        schedule=Schedule(steps),
        optimizer=OptimizerSettings("adamw", 0.01, 0.01),
        batch_size=4,
        evaluate_every=steps,
        checkpoint_every=steps,
        score="score",
        log_every=2,
        ema_decay=0.9,
        **settings,  # type: ignore[arg-type]
    )
    return Trainer(PicturesTask(), fit, RunFolder(folder), hooks, CPU, place)


def state_of(trained: Trainer) -> list[Tensor]:
    assert trained.average
    moments = [value for state in trained.optimizer.state.values() for value in state.values()]
    return [value.clone() for value in (*trained.task.state_dict().values(), *moments, *trained.average.state.values())]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_skipped_leaves_weights_moments_average_and_statistics_as_they_were(
    tmp_path: Path, accumulate: int
) -> None:
    one = trainer(tmp_path, steps=9, bad={2 * accumulate - 1}, accumulate=accumulate)
    source = iter(Source(bad=frozenset({2 * accumulate - 1})))
    assert one._step(one.task, source, 0) is not None
    before, updates = state_of(one), one.average.updates if one.average else -1
    assert one._step(one.task, source, 1) is None
    assert one.average and one.average.updates == updates
    assert all(torch.equal(now, then) for now, then in zip(state_of(one), before, strict=True))
    assert one._step(one.task, source, 2) is not None
    assert not all(torch.equal(now, then) for now, then in zip(state_of(one), before, strict=True))
    assert all(torch.isfinite(value).all() for value in state_of(one))


def test_a_loss_that_is_infinite_with_finite_gradients_is_skipped_too(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=9, bad=set())
    forward = one.task.forward
    one.task.forward = lambda batch: {**forward(batch), "far": torch.tensor(torch.inf)}  # type: ignore[method-assign]
    assert one._step(one.task, iter(Source()), 0) is None


def test_skipped_steps_are_counted_in_the_metrics_and_over_a_resumption(tmp_path: Path) -> None:
    done = trainer(tmp_path, steps=8, bad={1, 4, 5}).fit()
    assert (done.step, done.skipped, done.skipped_in_a_row) == (8, 3, 0)
    lines = [line for line in RunFolder(tmp_path).read_metrics() if line["part"] == "train"]
    assert [line["skipped"] for line in lines] == [1, 1, 3, 3]
    assert ["loss" in line for line in lines] == [True, True, False, True]
    again = trainer(tmp_path, steps=8, bad=set())
    again.resume()
    assert (again.progress.skipped, again.progress.step) == (3, 8)


def test_a_resumption_over_other_pictures_or_processes_is_refused_in_words(tmp_path: Path) -> None:
    trainer(tmp_path, steps=2, bad=set(), extent={"pictures": 9, "processes": 2}).fit()
    said = r"last\.pt is of a training over 9 pictures, 2 processes, this one is over 9 pictures, 4 processes"
    with pytest.raises(RunError, match=said):
        trainer(tmp_path, steps=2, bad=set(), extent={"pictures": 9, "processes": 4}).resume()


def test_so_many_in_a_row_end_the_training_and_name_step_losses_and_checkpoint(tmp_path: Path) -> None:
    message = (
        r"not finite at step 5 and the 2 before \(mean nan, other nan, gradient norm nan\); nothing was saved yet; "
        "start another run with a lower learning rate"
    )
    with pytest.raises(RunError, match=message):
        trainer(tmp_path, steps=8, bad={0, 2, 3, 4}, max_nonfinite_steps=3).fit()


@pytest.mark.parametrize("classes", [None, (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("labelled", [0, 1])
def test_pictures_without_labels_cost_nothing_and_spoil_nothing(
    labelled: int, smoothing: float, classes: tuple[float, ...] | None
) -> None:
    weights = LossWeights(dice=1.0, lovasz=1.0, focal=1.0, label_smoothing=smoothing, classes=classes)
    logits = torch.randn(3, 3, 5, 5, requires_grad=True)
    masks = torch.full((3, 9, 9), IGNORE_INDEX, dtype=torch.uint8)
    masks[:labelled] = torch.randint(0, 3, (labelled, 9, 9), dtype=torch.uint8)
    losses = SegmentationLoss(weights, align_corners=True)(logits, masks)
    total = torch.stack(list(losses.values())).sum()
    (gradient,) = torch.autograd.grad(total, logits)
    assert torch.isfinite(total)
    assert torch.isfinite(gradient).all()
    assert not gradient[labelled:].any()
    assert (total > 0) == (labelled > 0)
