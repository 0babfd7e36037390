"""One pass over a split: predictions into the metric, every picture once."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mbseg.tasks.base import Metric, Task


def evaluate(task: Task, batches: Iterable[Any], device: torch.device) -> dict[str, Any]:
    """The task's scores over `batches`, added up over all processes. The task's training mode is kept."""
    return measure(task, batches, device).compute()


@torch.inference_mode()
def measure(
    task: Task, batches: Iterable[Any], device: torch.device, *, on_batch: Callable[[], object] | None = None
) -> Metric:
    """The task's metric over `batches`, merged over all processes."""
    was_training = task.training
    task.eval()
    metric = task.metric()
    for batch in batches:
        metric.update(task.predict(to_device(batch, device)), batch)
        if on_batch:
            on_batch()
    task.train(was_training)
    metric.merge()
    return metric


def to_device(batch: Any, device: torch.device) -> Any:
    """A named tuple's tensors, and those in its lists, on the device, everything else as it is."""
    return type(batch)(*(moved(value, device) for value in batch))


def moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return [moved(one, device) for one in value] if isinstance(value, list) else value
