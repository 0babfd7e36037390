"""What a training says while it runs: progress on stderr, metrics.jsonl, TensorBoard events."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from mbseg.engine.run_folder import RunFolder
from mbseg.engine.tensorboard import events_in

QUIET_SECONDS = 30  # between progress lines where stderr is no terminal


class TrainingLog:
    """Progress with loss, learning rate, pictures/s and time left; silent (`speaks=False`) on all but one process."""

    def __init__(self, folder: RunFolder, *, steps: int, done: int, batch_size: int, speaks: bool) -> None:
        self.folder = folder
        self.steps = steps
        self.batch_size = batch_size
        self.speaks = speaks
        self.events = events_in(folder.path, first_step=done + 1) if speaks else None
        self.bar = tqdm(total=steps, initial=done, unit="step", disable=None if speaks else True, dynamic_ncols=True)
        self.first = self.lap_step = done
        self.started = self.lap_started = self.spoken = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if self.events:
            self.events.close()

    def training(self, step: int, losses: dict[str, float], learning_rate: float, skipped: int) -> None:
        """One line of numbers for the steps since the last call; the speed is of training alone.

        Without losses if all these steps were skipped; `skipped` counts those of the whole training.
        """
        speed = (step - self.lap_step) * self.batch_size / (time.monotonic() - self.lap_started)
        self._start_lap(step)
        summed = {"loss": sum(losses.values())} if losses else {}
        values = {**losses, **summed, "learning_rate": learning_rate, "pictures_per_second": speed, "skipped": skipped}
        self._write(step, values, "train")
        loss = f"loss {summed['loss']:.3f}" if losses else "no finite loss"
        left_out = f", {skipped} skipped" if skipped else ""
        self.bar.set_postfix_str(f"{loss}, rate {learning_rate:.1e}, {speed:.1f} pictures/s{left_out}")
        if self.bar.disable and self.speaks and time.monotonic() - self.spoken > QUIET_SECONDS:
            said = f"{loss}  {speed:.1f} pictures/s  {self._time_left(step)} left{left_out}"
            self.say(f"step {step}/{self.steps}  {said}")

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
        if self.events:
            self.events.add(step, {f"{part}/{name}": value for name, value in values.items() if is_scalar(value)})


def is_scalar(value: object) -> bool:
    """A score may be None, or a table of its own."""
    return isinstance(value, float)
