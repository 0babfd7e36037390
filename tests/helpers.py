"""Helpers of several tests."""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

ALL_TAPS = ("c2", "c3", "c4", "c5", "c2_expansion", "c3_expansion", "c4_expansion", "last_conv")


def calibrated(model: Module, images: Tensor) -> Module:
    """`model` in eval mode with the batch-norm statistics of `images`.

    A freshly initialised MobileNet in eval mode fades to 1e-7, where wrong features are as close as right ones.
    """
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    return model.eval()


@torch.no_grad()
def successive_outputs(parts: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """The output of every part, each fed with the one before."""
    outputs = []
    for part in parts:
        x = part(x)
        outputs.append(x)
    return outputs


def assert_same_features(ours: Tensor, theirs: Tensor, *, tolerance: float = 1e-5) -> None:
    """Equal up to rounding, and alive: faded features would agree whatever they are."""
    assert theirs.std() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())
