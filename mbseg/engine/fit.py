"""The training loop, in the open."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mbseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mbseg.engine.distributed import Place, any_process, on_main, take_from_main
from mbseg.engine.ema import MovingAverage
from mbseg.engine.evaluate import evaluate, to_device
from mbseg.engine.log import TrainingLog
from mbseg.engine.nonfinite import Undo, are_finite, figures
from mbseg.engine.optim import OptimizerSettings, make_optimizer, set_learning_rate, trainable
from mbseg.engine.progress import Losses, Progress, Scores, mean_tensors
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.schedule import Schedule
from mbseg.engine.seed import seed_step
from mbseg.engine.stopping import Batches, Stopped, Stopping
from mbseg.errors import RunError
from mbseg.nn.norm import freeze_norm
from mbseg.tasks.base import Task


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
    max_nonfinite_steps: int = 10  # in a row
    bf16: bool = False
    seed: int = 0
    extent: dict[str, int] = field(default_factory=dict)  # pictures, processes, steps: a resumed training has the same


@dataclass(frozen=True)
class Hooks:
    """What the engine does not know how to do."""

    batches: Callable[[int], Batches]  # from this batch on, to the end of the training
    validation: Callable[[], Batches]
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
        self.undo = Undo(task.model)
        self.progress = Progress()
        self.saved = 0  # the step of the checkpoint

    def resume(self) -> None:
        """Goes back to the last checkpoint. Raises RunError where there is none that can be read."""
        saved = on_main(self.place, partial(load_checkpoint, self.folder.last))
        if saved.extent != self.settings.extent:
            raise RunError(
                f"{self.folder.last} is of a training over {words(saved.extent)}, this one is over "
                f"{words(self.settings.extent)}; "
                "resume with the same data and number of processes"
            )
        if (self.average is None) != (saved.average is None):
            raise RunError(f"{self.folder.last} does not fit train.ema_decay; remove it to start again")
        try:
            self.task.model.load_state_dict(saved.model)
            self.optimizer.load_state_dict(saved.optimizer)
            if self.average and saved.average:
                self.average.load(saved.average)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{self.folder.last} is of another model; remove it to start again") from None
        self.progress, self.saved = Progress.of(saved.progress, self.device), saved.step
        if not on_main(self.place, self.folder.best.exists):
            self.progress.best = None
        forget = partial(self.folder.forget_metrics_behind, saved.step, evaluated=self.progress.evaluated)
        on_main(self.place, forget)

    def fit(self) -> Progress:
        """Trains to the last step. Told to end, it ends behind the running one: what is done is saved.

        Raises Stopped then, and RunError for a loss that is not finite and for a disk that refuses.
        """
        progress, settings = self.progress, self.settings
        module = self._distributed()
        ahead = self.hooks.batches(progress.step * settings.accumulate)
        with closing(iter(ahead)) as batches, Stopping(self.place) as stopping, self._open_log() as log:
            try:
                if self._owes_evaluation():  # stopped in the midst of it
                    self._close_step(log, stopping)
                for step in range(progress.step, settings.schedule.steps):
                    progress.has_done(self._step(module, batches, step))
                    self._log(log)
                    stopping.obey()
                    self._close_step(log, stopping)
                    log.bar.update()
                stopping.obey()
            except Stopped as stopped:
                self._save()
                raise Stopped(stopped.number, f"stopped at step {progress.step}") from None
        return progress

    def _open_log(self) -> TrainingLog:
        return TrainingLog(
            self.folder,
            steps=self.settings.schedule.steps,
            done=self.progress.step,
            batch_size=self.settings.batch_size,
            speaks=self.place.is_main,
        )

    def _distributed(self) -> nn.Module:
        if self.place.world == 1:
            return self.task
        return DistributedDataParallel(self.task, device_ids=[self.device] if self.device.type == "cuda" else None)

    def _is_due(self, every: int) -> bool:
        return self.progress.step % every == 0 or self.progress.step == self.settings.schedule.steps

    def _owes_evaluation(self) -> bool:
        return self.progress.evaluated < self.progress.step and self._is_due(self.settings.evaluate_every)

    def _close_step(self, log: TrainingLog, stopping: Stopping) -> None:
        """What is due behind a step: the evaluation, then the checkpoint that knows of it."""
        if self._owes_evaluation():
            self._evaluate(log, stopping)
        if self._is_due(self.settings.checkpoint_every):
            self._save()

    def _step(self, module: nn.Module, batches: Iterator[Any], step: int) -> Losses | None:
        """One optimizer step over `accumulate` batches; gives their mean losses, None if it had to be skipped."""
        settings = self.settings
        self.task.train()
        if settings.freeze_norm:
            freeze_norm(self.task.backbone)
        seed_step(settings.seed, step * self.place.world + self.place.rank)
        set_learning_rate(self.optimizer, settings.schedule.factor(step))
        self.optimizer.zero_grad()
        self.undo.remember()
        losses = mean_tensors([self._backward(module, next(batches)) for _ in range(settings.accumulate)])
        norm = torch.nn.utils.clip_grad_norm_(list(trainable(self.task)), settings.clip_norm or math.inf)
        if any_process(not are_finite(losses, norm)):
            self._skip(losses, norm)
            return None
        self.optimizer.step()
        if self.average:
            self.average.update(self.task.model)
        return losses

    def _backward(self, module: nn.Module, batch: Any) -> Losses:
        """Adds the batch's share to the gradients."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.settings.bf16):
            losses = module(to_device(batch, self.device))
        torch.autograd.backward(torch.stack(list(losses.values())).sum() / self.settings.accumulate)
        return {name: loss.detach() for name, loss in losses.items()}

    def _skip(self, losses: Losses, norm: Tensor) -> None:
        """All is as it was before the step. Raises RunError for one too many in a row."""
        self.undo.take_back()
        before = self.progress.skipped_in_a_row
        if before + 1 < self.settings.max_nonfinite_steps:
            return
        steps = f"step {self.progress.step + 1}" + (f" and the {before} before" if before else "")
        kept = f"{self.folder.last} keeps step {self.saved}" if self.saved else "nothing was saved yet"
        raise RunError(
            f"loss or gradient is not finite at {steps} ({figures(losses, norm)}); {kept}; "
            "start another run with a lower learning rate or with train.clip_norm"
        )

    def _log(self, log: TrainingLog) -> None:
        if self._is_due(self.settings.log_every):
            progress = self.progress
            rate = self.optimizer.param_groups[0]["lr"]
            log.training(progress.step, progress.mean_losses(), rate, progress.skipped)

    def _evaluate(self, log: TrainingLog, stopping: Stopping) -> None:
        """Scores the averaged weights where there are any, and keeps them if they are the best so far."""
        take_from_main(self.task.model.state_dict().values())
        if self.average and self.settings.evaluate_average:
            take_from_main(self.average.state.values())
            with self.average.applied_to(self.task.model):
                self._score(log, stopping)
        else:
            self._score(log, stopping)

    def _score(self, log: TrainingLog, stopping: Stopping) -> None:
        progress, name = self.progress, self.settings.score
        scores = plain(evaluate(self.task, stopping.between(self.hooks.validation()), self.device))
        scores |= {"step": progress.step, "seconds": round(progress.seconds, 1)}
        is_best = progress.best is None or scores[name] > progress.best[name]
        on_main(self.place, partial(self._keep, log, scores, is_best))
        progress.last = scores
        progress.best = scores if is_best else progress.best

    def _keep(self, log: TrainingLog, scores: Scores, is_best: bool) -> None:
        score = self.settings.score
        log.evaluation(self.progress.step, scores, f"{score} {scores[score]:.4f}{' (best)' if is_best else ''}")
        if is_best:
            self.hooks.save_best(self.task.model.state_dict(), scores)
        self.hooks.draw(self.progress.step)

    def _save(self) -> None:
        on_main(self.place, self._write_checkpoint)
        self.saved = self.progress.step

    def _write_checkpoint(self) -> None:
        self.folder.settle_metrics()
        save_checkpoint(
            self.folder.last,
            Checkpoint(
                extent=self.settings.extent,
                model=self.task.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                average=self.average.kept() if self.average else None,
                progress=self.progress.state(),
            ),
        )


def words(extent: dict[str, int]) -> str:
    """1464 pictures, 1 processes, 30000 steps"""
    return ", ".join(f"{count} {name}" for name, count in extent.items())


def plain(scores: Scores) -> Scores:
    """In the types of JSON, which every file can hold."""
    made: Scores = json.loads(json.dumps(scores))
    return made
