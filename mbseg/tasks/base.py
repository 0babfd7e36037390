"""What the engine asks of a task: named losses, predictions, a metric."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Metric(Protocol):
    """Scores gathered over a whole split."""

    def update(self, predictions: Any, batch: Any) -> None: ...

    def merge(self) -> None:
        """Adds up what all processes have gathered."""

    def compute(self) -> dict[str, Any]: ...


class Task(nn.Module, ABC):
    """A model with its loss, its prediction and its metric; `forward` is the training step, which DDP wraps."""

    model: nn.Module
    loss: nn.Module
    predictor: Any  # brings pictures to its `model`, and the answers back
    score: str  # of its metric's scores, the one that decides what is best

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """The pretrained part, which may learn at a rate of its own."""

    @abstractmethod
    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Named losses; their sum is minimised."""

    @abstractmethod
    def predict(self, batch: Any) -> Any:
        """Final predictions at the pictures' own sizes."""

    def predict_with(self, model: nn.Module) -> None:
        """From here on with the same network in another form, such as `runtime.torch_backend.prepare` gives."""
        self.model = self.predictor.model = model

    @abstractmethod
    def input_size(self, picture: tuple[int, int], /) -> tuple[int, int]:
        """(height, width) at which the network sees a picture of that size, at scale 1."""

    @abstractmethod
    def describe(self) -> str:
        """The protocol of its predictions in words, for beside a score."""

    @abstractmethod
    def metric(self) -> Metric:
        """A fresh metric for one pass over a split."""


def sum_over_processes(count: int) -> int:
    if not dist.is_available() or not dist.is_initialized():
        return count
    counts: list[int | None] = [None] * dist.get_world_size()
    dist.all_gather_object(counts, count)
    return sum(each or 0 for each in counts)


def mean_over_processes(total: Tensor, count: Tensor) -> Tensor:
    """total / (count of all processes), times the number of processes, which DDP's averaging divides out again.

    So N processes minimise exactly what one process with N times the batch does.
    """
    if not dist.is_available() or not dist.is_initialized():
        return total / count.clamp(min=1)
    everywhere = count.detach().clone().to(torch.float64)
    dist.all_reduce(everywhere)
    return total * dist.get_world_size() / everywhere.clamp(min=1).to(total.dtype)
