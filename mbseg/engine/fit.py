"""The training loop, in the open."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mbseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mbseg.engine.distributed import Place, take_from_main
from mbseg.engine.ema import MovingAverage
from mbseg.engine.evaluate import evaluate, to_device
from mbseg.engine.log import TrainingLog
from mbseg.engine.optim import OptimizerSettings, make_optimizer, set_learning_rate, trainable
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.schedule import Schedule
from mbseg.engine.seed import seed_step
from mbseg.errors import RunError
from mbseg.nn.norm import freeze_norm
from mbseg.tasks.base import Task

Scores = dict[str, Any]


@dataclass(frozen=True)
class FitSettings:
    """How long and how a task is trained."""

    schedule: Schedule
    optimizer: OptimizerSettings
    batch_size: int  # pictures a step, over all processes
    evaluate_every: int  # steps
    checkpoint_every: int
    score: str  # of the task's scores, the one that decides what is best
    log_every: int = 20
    accumulate: int = 1
    clip_norm: float | None = None
    ema_decay: float | None = None
    evaluate_average: bool = True  # score the averaged weights, where there are any
    freeze_norm: bool = False
    bf16: bool = False
    seed: int = 0
    extent: dict[str, int] = field(default_factory=dict)  # pictures, processes, steps: a resumed training has the same


@dataclass
class Progress:
    """What a training has come to; with the weights, all that a checkpoint keeps."""

    step: int = 0
    best: float | None = None
    earlier_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started


@dataclass(frozen=True)
class Hooks:
    """What the engine does not know how to do."""

    batches: Callable[[int], Iterable[Any]]  # from this batch on, to the end of the training
    validation: Callable[[], Iterable[Any]]
    save_best: Callable[[dict[str, Tensor], Scores], None]
    draw: Callable[[int], None]  # the fixed validation pictures after this step


class Trainer:
    """One training of one task in one run folder."""

    def __init__(
        self, task: Task, settings: FitSettings, folder: RunFolder, hooks: Hooks, device: torch.device, place: Place
    ) -> None:
        self.task = task.to(device)
        self.settings = settings
        self.folder = folder
        self.hooks = hooks
        self.device = device
        self.place = place
        self.optimizer = make_optimizer(task, settings.optimizer)
        self.average = MovingAverage(task.model, settings.ema_decay) if settings.ema_decay else None
        self.progress = Progress()

    def resume(self) -> None:
        """Goes back to the last checkpoint. Raises RunError where there is none that can be read."""
        saved = load_checkpoint(self.folder.last)
        if saved.extent != self.settings.extent:
            raise RunError(
                f"{self.folder.last} is of a training over {saved.extent}, this one is over {self.settings.extent}; "
                "resume with the same data and number of processes"
            )
        try:
            self.task.model.load_state_dict(saved.model)
            self.optimizer.load_state_dict(saved.optimizer)
        except (RuntimeError, ValueError, KeyError):
            raise RunError(f"{self.folder.last} is of another model; remove it to start again") from None
        if (self.average is None) != (saved.average is None):
            raise RunError(f"{self.folder.last} does not fit train.ema_decay; remove it to start again")
        if self.average and saved.average:
            self.average.updates = saved.average["updates"]
            self.average.state = {name: value.to(self.device) for name, value in saved.average["state"].items()}
        best = saved.best if self.folder.best.exists() else None
        self.progress = Progress(saved.step, best, saved.seconds)
        if self.place.is_main:
            self.folder.forget_metrics_behind(saved.step)

    def fit(self) -> Scores:
        """Trains to the last step and gives the last evaluation's scores."""
        steps, done = self.settings.schedule.steps, self.progress.step
        scores: Scores = {}
        module = self._distributed()
        batches = iter(self.hooks.batches(done * self.settings.accumulate))
        with TrainingLog(
            self.folder, steps=steps, done=done, batch_size=self.settings.batch_size, speaks=self.place.is_main
        ) as log:
            losses: list[dict[str, Tensor]] = []
            for step in range(done, steps):
                losses.append(self._step(module, batches, step))
                self.progress.step = step + 1
                if self._is_due(self.settings.log_every):
                    log.training(step + 1, mean_of(losses), self.optimizer.param_groups[0]["lr"])
                    losses.clear()
                if self._is_due(self.settings.evaluate_every):
                    scores = self._evaluate(log)
                if self._is_due(self.settings.checkpoint_every):
                    self._save()
                log.bar.update()
            return scores or self.folder.last_evaluation() or self._evaluate(log)

    def _distributed(self) -> nn.Module:
        if self.place.world == 1:
            return self.task
        return DistributedDataParallel(self.task, device_ids=[self.device] if self.device.type == "cuda" else None)

    def _is_due(self, every: int) -> bool:
        return self.progress.step % every == 0 or self.progress.step == self.settings.schedule.steps

    def _step(self, module: nn.Module, batches: Iterator[Any], step: int) -> dict[str, Tensor]:
        """One optimizer step over `accumulate` batches; gives their mean losses."""
        settings = self.settings
        self.task.train()
        if settings.freeze_norm:
            freeze_norm(self.task.backbone)
        seed_step(settings.seed, step * self.place.world + self.place.rank)
        set_learning_rate(self.optimizer, settings.schedule.factor(step))
        self.optimizer.zero_grad()
        parts = []
        for _ in range(settings.accumulate):
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=settings.bf16):
                losses = module(to_device(next(batches), self.device))
            total = torch.stack(list(losses.values())).sum() / settings.accumulate
            torch.autograd.backward(total)
            parts.append({name: loss.detach() for name, loss in losses.items()})
        self._check_finite(step)
        self.optimizer.step()
        if self.average:
            self.average.update(self.task.model)
        return mean_tensors(parts)

    def _check_finite(self, step: int) -> None:
        """Clips the gradients; a NaN or Inf in any loss shows in their norm, and ends the training before the step."""
        limit = self.settings.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(list(trainable(self.task)), limit)
        if not torch.isfinite(norm):
            last = self.folder.last
            kept = f"{last} keeps the last good state" if last.exists() else "nothing was saved yet"
            advice = "start another run with a lower learning rate or with train.clip_norm"
            raise RunError(f"loss or gradient is not finite at step {step + 1}; {kept}; {advice}")

    def _evaluate(self, log: TrainingLog) -> Scores:
        """Scores the averaged weights where there are any, and keeps them if they are the best so far."""
        take_from_main(self.task.model.state_dict().values())
        if self.average and self.settings.evaluate_average:
            take_from_main(self.average.state.values())
            with self.average.applied_to(self.task.model):
                return self._score(log)
        return self._score(log)

    def _score(self, log: TrainingLog) -> Scores:
        scores = evaluate(self.task, self.hooks.validation(), self.device)
        scores = {**scores, "step": self.progress.step, "seconds": round(self.progress.seconds, 1)}
        value = scores[self.settings.score]
        is_best = self.progress.best is None or value > self.progress.best
        self.progress.best = value if is_best else self.progress.best
        if self.place.is_main:
            headline = f"{self.settings.score} {value:.4f}{' (best)' if is_best else ''}"
            log.evaluation(self.progress.step, scores, headline)
            if is_best:
                self.hooks.save_best(self.task.model.state_dict(), scores)
            self.hooks.draw(self.progress.step)
        return scores

    def _save(self) -> None:
        if not self.place.is_main:
            return
        average = {"updates": self.average.updates, "state": self.average.state} if self.average else None
        save_checkpoint(
            self.folder.last,
            Checkpoint(
                step=self.progress.step,
                extent=self.settings.extent,
                model=self.task.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                average=average,
                best=self.progress.best,
                seconds=self.progress.seconds,
            ),
        )


def mean_of(losses: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: value.item() for name, value in mean_tensors(losses).items()}


def mean_tensors(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
