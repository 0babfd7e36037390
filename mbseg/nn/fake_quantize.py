"""Networks that train under the rounding they will meet as an int8 file (quantisation-aware; arXiv:1712.05877).

Weights are rounded per output channel, the input of every convolution per tensor. A channel's grid follows its largest
weight: what batch norm multiplies a channel by scales weights and grid alike, so rounding before batch norm is folded
into the convolution is rounding behind it. Batch norm goes on learning, now the statistics of rounded maps.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mbseg.errors import ConfigError
from mbseg.nn.conv import Conv2d, TensorFlowConv2d

Module = TypeVar("Module", bound=nn.Module)

MOST_NEGATIVE, MOST_POSITIVE = -127, 127  # of weights: as far below 0 as above it
ACTIVATION_STEPS = 255  # of uint8
LEAST_SCALE = torch.finfo(torch.float32).tiny  # of what is zero throughout


class RoundWeights(torch.autograd.Function):
    """[out, in / groups, k, k] -> the nearest of 255 values for each output channel; its gradient is the identity."""

    @staticmethod
    def forward(_context: Any, weight: Tensor) -> Tensor:
        scale = (weight.abs().amax((1, 2, 3), keepdim=True) / MOST_POSITIVE).clamp(min=LEAST_SCALE)
        return (weight / scale).round_().clamp_(MOST_NEGATIVE, MOST_POSITIVE).mul_(scale)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return gradient


class RoundActivations(torch.autograd.Function):
    """The nearest of 256 values between a batch's least and its largest, 0 among them; its gradient is the identity.

    The range is that of the batch at hand: nothing is kept that a checkpoint or the plain model would not know.
    """

    @staticmethod
    def forward(_context: Any, maps: Tensor) -> Tensor:
        low, high = (bound.float() for bound in maps.aminmax())
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = ((high - low) / ACTIVATION_STEPS).clamp(min=LEAST_SCALE)
        zero_point = (-low / scale).round()
        steps = (maps.float() / scale).round_().add_(zero_point).clamp_(0, ACTIVATION_STEPS)
        return steps.sub_(zero_point).mul_(scale).to(maps.dtype)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return gradient


class FakeQuantConv2d(Conv2d):
    """A convolution of rounded maps with rounded weights; the parameters keep their names and all their bits."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        maps: Tensor = RoundActivations.apply(x)
        convolved: Tensor = super()._conv_forward(maps, RoundWeights.apply(weight), bias)
        return convolved


class FakeQuantTensorFlowConv2d(FakeQuantConv2d, TensorFlowConv2d):
    """The same behind TensorFlow's padding SAME."""


TWINS: dict[type[nn.Conv2d], type[FakeQuantConv2d]] = {
    nn.Conv2d: FakeQuantConv2d,
    Conv2d: FakeQuantConv2d,
    TensorFlowConv2d: FakeQuantTensorFlowConv2d,
}


def fake_quantized(network: Module) -> Module:
    """A copy of `network` in which every convolution rounds; its state dict fits the plain one, and the other way.

    Raises ConfigError for a convolution with a forward of its own, as timm has some.
    """
    copied = copy.deepcopy(network)
    for name, part in copied.named_modules():
        if isinstance(part, nn.Conv2d):
            if type(part) not in TWINS:
                raise ConfigError(
                    f"train.quantization_aware cannot round {name}, a {type(part).__name__}; choose another backbone, "
                    "or leave it off"
                )
            part.__class__ = TWINS[type(part)]  # parameters, hooks and settings stay (as torch's parametrize does it)
    return copied
