"""One pass over a split: predictions into the metric, every picture once."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mbseg.tasks.base import Task


@torch.inference_mode()
def evaluate(
    task: Task, batches: Iterable[Any], device: torch.device, *, on_batch: Callable[[], object] | None = None
) -> dict[str, Any]:
    """The task's scores over `batches`, added up over all processes. The task's training mode is kept."""
    was_training = task.training
    task.eval()
    metric = task.metric()
    for batch in batches:
        metric.update(task.predict(to_device(batch, device)), batch)
        if on_batch:
            on_batch()
    task.train(was_training)
    metric.merge()
    return metric.compute()


def to_device(batch: Any, device: torch.device) -> Any:
    """A named tuple's tensors on the device, everything else as it is."""
    return type(batch)(
        *(value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for value in batch)
    )
