"""How a network starts that is trained from scratch."""

from torch import nn


def initialize(module: nn.Module) -> None:
    """He initialisation (fan out) of every convolution, zero biases; batch norm starts as the identity."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
