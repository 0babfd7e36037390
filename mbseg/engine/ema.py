"""Exponential moving average of a model's weights and batch-norm statistics."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """average <- average + (1 - decay) * (weights - average), the decay ramped up from 0.1 over the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state: dict[str, Tensor] = {name: copy.deepcopy(value) for name, value in detached(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        current = detached(model)
        floats = [name for name, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[name] for name in floats], [current[name] for name in floats], 1 - decay)
        for name in self.state.keys() - set(floats):
            self.state[name].copy_(current[name])

    def kept(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"updates": self.updates, "state": self.state}

    def load(self, kept: dict[str, Any]) -> None:
        """What `kept` gave. Raises KeyError or RuntimeError for that of another model."""
        self.updates = kept["updates"]
        for name, value in self.state.items():
            value.copy_(kept["state"][name])

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Within, the model has the averaged weights; behind it, its own again."""
        own = {name: value.clone() for name, value in detached(model).items()}
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)


def detached(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in model.state_dict().items()}
