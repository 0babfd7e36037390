"""Convolutions under autocast."""

import pytest
import torch

from mbseg.nn.conv import ConvNormAct


@pytest.mark.parametrize(
    ("channels", "size", "dilation", "stride"),
    [
        (64, (65, 65), 2, 1),
        (32, (65, 65), 4, 1),
        (64, (33, 33), 12, 1),
        (64, (33, 33), 1, 1),
        (32, (2, 1), 1, 2),
        (22, (3, 1), 1, 2),
        (22, (1, 1), 1, 2),
    ],
)
def test_depthwise_weight_gradients_in_bf16_are_those_of_fp32(
    channels: int, size: tuple[int, int], dilation: int, stride: int
) -> None:
    """torch's own are not in channels_last, docs/decisions/0005-depthwise-in-fp32.md."""
    layer = ConvNormAct(channels, channels, 3, dilation=dilation, stride=stride, groups=channels)
    layer.to(memory_format=torch.channels_last)
    images = torch.randn(8, channels, *size).to(memory_format=torch.channels_last)
    weights = torch.randn_like(layer.conv(images))
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        leave_garbage_in_freed_memory()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            convolved = layer.conv(images)
        (convolved.float() * weights).sum().backward()
        assert layer.conv.weight.grad is not None
        gradients.append(layer.conv.weight.grad.clone())
    exact, mixed = gradients
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.02 * exact.abs().max().item())


def leave_garbage_in_freed_memory() -> None:
    """So that a gradient that is left uninitialised shows."""
    _ = [torch.full((2**power,), 1e20, dtype=torch.bfloat16) for power in range(6, 18)]
