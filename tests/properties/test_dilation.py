"""Atrous consistency: a dilated network computes the very features of the undilated one, only at more positions."""

import pytest
import torch
from torch import Tensor, nn

from mbseg.backbones.base import Backbone
from mbseg.backbones.variant import Variant
from mbseg.backbones.zoo import known_taps
from mbseg.create import create_backbone
from mbseg.nn.blocks import SqueezeExcite
from tests.helpers import calibrated

IMAGES = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(7))
NAMES = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "fd_mobilenet"]

both_output_strides = pytest.mark.parametrize("output_stride", [8, 16])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width_mult", [0.35, 0.5, 1.0, 1.4])
@both_output_strides
def test_a_dilated_network_only_computes_more_positions(name: str, width_mult: float, output_stride: int) -> None:
    for tap, (expected, features) in subsampled(name, output_stride, Variant(), width_mult).items():
        assert expected.std() > 0.05, tap
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("shortcut", ["expansion", "none"])
@pytest.mark.parametrize("bottleneck", ["linear", "activated"])
@both_output_strides
def test_the_ablations_keep_it(shortcut: str, bottleneck: str, output_stride: int) -> None:
    variant = Variant(bottleneck=bottleneck, shortcut=shortcut)
    for expected, features in subsampled("mobilenet_v2", output_stride, variant).values():
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
@both_output_strides
def test_torchvisions_plan_spoils_the_features(name: str, output_stride: int) -> None:
    """torchvision and segmentation-models-pytorch dilate the block that loses its stride, too."""
    expected, features = subsampled(name, output_stride, Variant(dilation_plan="torchvision"))["c5"]
    assert (features - expected).norm() > 1e-3 * expected.norm()


@torch.no_grad()
def subsampled(
    name: str, output_stride: int, variant: Variant, width_mult: float = 1.0
) -> dict[str, tuple[Tensor, Tensor]]:
    """Of every tap the coarse map, and the fine map of the same weights at the same positions."""
    taps = known_taps(name)
    coarse = create_backbone(name, width_mult=width_mult, taps=taps, variant=variant)
    hold_gates(coarse)
    calibrated(coarse, IMAGES)
    fine = create_backbone(name, width_mult=width_mult, output_stride=output_stride, taps=taps, variant=variant)
    fine.load_state_dict(coarse.state_dict())
    dense = fine.eval()(IMAGES)
    steps = {tap: coarse.feature_info[tap].stride // fine.feature_info[tap].stride for tap in dense}
    return {tap: (map_, dense[tap][..., :: steps[tap], :: steps[tap]]) for tap, map_ in coarse(IMAGES).items()}


def hold_gates(backbone: Backbone) -> None:
    """Squeeze-and-excite sees the mean of a map, and the mean over more positions is another one: its gates stand."""
    for part in backbone.modules():
        if isinstance(part, SqueezeExcite):
            nn.init.zeros_(part.widen.weight)
            nn.init.uniform_(part.widen.bias, -2, 2)
