"""Steps whose loss or gradient is not finite: they leave no trace, they are counted, and too many end the training."""

import torch
from torch import Tensor, nn

Losses = dict[str, Tensor]


class Undo:
    """Takes back what forward passes do to a model by themselves: batch-norm statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.buffers = list(model.buffers())
        self.kept = [buffer.clone() for buffer in self.buffers]

    def remember(self) -> None:
        copy_all(self.buffers, self.kept)

    def take_back(self) -> None:
        copy_all(self.kept, self.buffers)


def copy_all(sources: list[Tensor], targets: list[Tensor]) -> None:
    if sources:
        torch._foreach_copy_(targets, sources)


def are_finite(losses: Losses, norm: Tensor) -> bool:
    """One question to the device for all of them."""
    return bool(torch.isfinite(torch.stack([*losses.values(), norm]).sum()))


def figures(losses: Losses, norm: Tensor) -> str:
    """loss_a nan, loss_b 0.7, gradient norm inf"""
    named = {**losses, "gradient norm": norm}
    return ", ".join(f"{name} {value.item():.3g}" for name, value in named.items())
