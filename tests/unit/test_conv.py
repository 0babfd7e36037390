"""Convolutions under autocast."""

import pytest
import torch

from mbseg.nn.conv import ConvNormAct


@pytest.mark.parametrize(("channels", "side", "dilation"), [(64, 65, 2), (32, 65, 4), (64, 33, 12), (64, 33, 1)])
def test_depthwise_weight_gradients_in_bf16_are_those_of_fp32(channels: int, side: int, dilation: int) -> None:
    """torch's own are wrong in channels_last for dilated ones, docs/decisions/0005-dilated-depthwise-in-fp32.md."""
    layer = ConvNormAct(channels, channels, 3, dilation=dilation, groups=channels).to(memory_format=torch.channels_last)
    images = torch.randn(8, channels, side, side).to(memory_format=torch.channels_last)
    weights = torch.randn(8, channels, side, side)
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            convolved = layer.conv(images)
        (convolved.float() * weights).sum().backward()
        assert layer.conv.weight.grad is not None
        gradients.append(layer.conv.weight.grad.clone())
    exact, mixed = gradients
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.02 * exact.abs().max().item())
