"""What the engine asks of a task: named losses, predictions, a metric."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mbseg.torchrun import is_one_of_several


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


def sum_over_processes(own: Tensor) -> Tensor:
    """`own` added up over all processes; its gradient is this process's share times their number, by which DDP divides.

    So N processes minimise exactly what one process with N times the batch does. All of them must come here.
    """
    if not is_one_of_several():
        return own
    everywhere = own.detach().to(torch.float64, copy=True)
    dist.all_reduce(everywhere)
    return everywhere.to(own.dtype) + dist.get_world_size() * (own - own.detach())


def mean_over_processes(total: Tensor, count: Tensor) -> Tensor:
    """The total over the count, each of all processes; 0 where nothing was counted. All of them must come here."""
    if not is_one_of_several():
        return total / count.clamp(min=1)
    totals, counts = sum_over_processes(torch.stack([total.double(), count.double()]))
    mean: Tensor = totals / counts.clamp(min=1)
    return mean.to(total.dtype)


def at_least_float32(logits: Tensor) -> Tensor:
    """As losses are computed: bf16 widened, float64 left as it is."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
