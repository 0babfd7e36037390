"""The parts of the training loop."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mbseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mbseg.engine.device import pick_device, uses_bf16
from mbseg.engine.ema import MovingAverage
from mbseg.engine.optim import OptimizerSettings, make_optimizer, set_learning_rate
from mbseg.engine.progress import Progress
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.schedule import Schedule
from mbseg.engine.seed import seed_step
from mbseg.errors import ConfigError, RunError
from mbseg.tasks.base import Metric, Task


class TinyTask(Task):
    """A backbone and a head of one layer each."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {"body": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "head": nn.Conv2d(4, 2, 1)}
        )

    @property
    def backbone(self) -> nn.Module:
        return self.model["body"]

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self.model["head"](self.model["body"](batch)).mean()}

    def predict(self, batch: Tensor) -> Tensor:
        return batch

    def input_size(self, picture: tuple[int, int], /) -> tuple[int, int]:
        return picture

    def describe(self) -> str:
        return "as it is"

    def metric(self) -> Metric:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_the_rate_warms_up_to_its_full_value_then_falls_and_never_reaches_zero(name: str) -> None:
    schedule = Schedule(steps=50, name=name, warmup_steps=10)
    factors = [schedule.factor(step) for step in range(50)]
    assert factors[:11] == sorted(factors[:11])
    assert factors[10] == max(factors) == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.1


def test_poly_is_the_papers_formula() -> None:
    assert Schedule(steps=30, power=0.9).factor(15) == pytest.approx(0.5**0.9)


def test_cosine_is_half_way_in_the_middle() -> None:
    assert Schedule(steps=30, name="cosine").factor(15) == pytest.approx(0.5)


def test_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    task = TinyTask()
    groups = make_optimizer(task, OptimizerSettings("sgd", 0.1, 1.0, 0.01)).param_groups
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    found = {(group["lr"], group["weight_decay"]): sorted(names[id(p)] for p in group["params"]) for group in groups}
    assert found == {
        (0.1, 0.01): ["model.body.0.weight"],
        (0.1, 0.0): ["model.body.0.bias", "model.body.1.bias", "model.body.1.weight"],
        (1.0, 0.01): ["model.head.weight"],
        (1.0, 0.0): ["model.head.bias"],
    }


def test_the_schedule_keeps_the_ratio_of_the_groups() -> None:
    optimizer = make_optimizer(TinyTask(), OptimizerSettings("adamw", 0.1, 1.0))
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05, 0.5}


def test_the_average_follows_its_formula_statistics_included() -> None:
    model = nn.BatchNorm2d(1)
    average = MovingAverage(model, decay=0.5)
    expected = 0.0
    for update, value in enumerate([1.0, 3.0, 7.0]):
        model.running_mean.fill_(value)
        average.update(model)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert average.state["running_mean"].item() == pytest.approx(expected)


def test_a_model_has_the_average_only_inside_the_block() -> None:
    model = nn.Linear(1, 1)
    average = MovingAverage(model, decay=0.9)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        average.state["weight"] += 1
    with average.applied_to(model):
        assert not torch.equal(model.weight, own["weight"])
    assert torch.equal(model.weight, own["weight"])


def test_dropout_depends_on_seed_and_step_alone() -> None:
    drawn = {}
    for seed, step in [(0, 1), (0, 2), (1, 1), (0, 1)]:
        seed_step(seed, step)
        value = torch.rand(3).tolist()
        assert drawn.setdefault((seed, step), value) == value
    assert len({tuple(value) for value in drawn.values()}) == 3


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    progress = Progress(step=3, losses=[{"loss": torch.tensor(0.5)}], best={"miou": 0.5, "absent": [], "ap": None})
    saved = Checkpoint({}, {"w": torch.ones(2)}, {"state": {}, "param_groups": []}, None, progress.state())
    save_checkpoint(tmp_path / "last.pt", saved)
    found = load_checkpoint(tmp_path / "last.pt")
    assert found.step == 3
    assert torch.equal(found.model["w"], saved.model["w"])
    again = Progress.of(found.progress, torch.device("cpu"))
    assert (again.best, again.losses, again.step) == (progress.best, progress.losses, 3)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", b"PK\x03\x04 torn"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(damage)
    with pytest.raises(RunError, match=r"last\.pt is damaged"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no checkpoint .*last\.pt"):
        load_checkpoint(tmp_path / "last.pt")


def test_metrics_behind_the_checkpoint_and_a_torn_line_are_forgotten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        folder.append_metrics({"step": step, "part": "train"})
    with folder.metrics.open("a") as file:
        file.write('{"step": 4, "lo')
    folder.forget_metrics_behind(2, evaluated=2)
    assert [line["step"] for line in folder.read_metrics()] == [1, 2]


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no device named 'gpu'"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="cuda is not there"):
            pick_device("cuda")


def test_a_named_precision_is_obeyed() -> None:
    assert uses_bf16("bf16", torch.device("cpu"))
    assert not uses_bf16("fp32", torch.device("cpu"))
