"""What a training says while it runs: progress on stderr, metrics.jsonl, TensorBoard events."""

import importlib.util
import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from mbseg.engine.run_folder import RunFolder

QUIET_SECONDS = 30  # between progress lines where stderr is no terminal


class TrainingLog:
    """Progress with loss, learning rate, pictures/s and time left; silent (`speaks=False`) on all but one process."""

    def __init__(self, folder: RunFolder, *, steps: int, done: int, batch_size: int, speaks: bool) -> None:
        self.folder = folder
        self.steps = steps
        self.batch_size = batch_size
        self.speaks = speaks
        self.writer = tensorboard_writer(folder, purge_step=done) if speaks else None
        self.bar = tqdm(total=steps, initial=done, unit="step", disable=None if speaks else True, dynamic_ncols=True)
        self.first = self.lap_step = done
        self.started = self.lap_started = self.spoken = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def training(self, step: int, losses: dict[str, float], learning_rate: float) -> None:
        """One line of numbers for the steps since the last call; the speed is of training alone."""
        speed = (step - self.lap_step) * self.batch_size / (time.monotonic() - self.lap_started)
        self._start_lap(step)
        loss = sum(losses.values())
        self._write(
            step, {**losses, "loss": loss, "learning_rate": learning_rate, "pictures_per_second": speed}, "train"
        )
        self.bar.set_postfix_str(f"loss {loss:.3f}, rate {learning_rate:.1e}, {speed:.1f} pictures/s")
        if self.bar.disable and self.speaks and time.monotonic() - self.spoken > QUIET_SECONDS:
            self.say(f"step {step}/{self.steps}  loss {loss:.3f}  {speed:.1f} pictures/s  {self._time_left(step)} left")

    def evaluation(self, step: int, scores: dict[str, Any], headline: str) -> None:
        self._write(step, scores, "val")
        self.say(f"step {step}/{self.steps}  {headline}")
        self._start_lap(step)

    def _start_lap(self, step: int) -> None:
        self.lap_step, self.lap_started = step, time.monotonic()

    def say(self, text: str) -> None:
        self.spoken = time.monotonic()
        if self.speaks:
            tqdm.write(text, file=sys.stderr)

    def _time_left(self, step: int) -> str:
        seconds = (time.monotonic() - self.started) / max(1, step - self.first) * (self.steps - step)
        return tqdm.format_interval(int(seconds))

    def _write(self, step: int, values: dict[str, Any], part: str) -> None:
        if not self.speaks:
            return
        self.folder.append_metrics({"step": step, "part": part, **values})
        if self.writer:
            for name, value in values.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"{part}/{name}", value, step)


def tensorboard_writer(folder: RunFolder, *, purge_step: int) -> Any:
    """TensorBoard's writer where it is installed (extra `track`)."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder.path), purge_step=purge_step + 1)
