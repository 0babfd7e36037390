"""Activations by the papers' names."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "relu6", "hardswish"]


def make_activation(name: Activation) -> nn.Module:
    """ReLU (V3's RE), ReLU6 (V1, V2) or h-swish (V3's HS; arXiv:1905.02244, section 5.2)."""
    kinds: dict[Activation, type[nn.ReLU] | type[nn.ReLU6] | type[nn.Hardswish]] = {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "hardswish": nn.Hardswish,
    }
    return kinds[name](inplace=True)
