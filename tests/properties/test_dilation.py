"""Atrous consistency: a dilated network computes the very features of the undilated one, only at more positions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mbseg.backbones.base import Backbone
from mbseg.backbones.blockspec import mobilenet_v2_spec
from mbseg.backbones.dilation import BackbonePlan, plan
from mbseg.backbones.mobilenet import MobileNet
from mbseg.backbones.zoo import build_backbone
from tests.helpers import ALL_TAPS, calibrated

IMAGES = torch.randn(1, 3, 65, 98, generator=torch.Generator().manual_seed(7))

both_output_strides = pytest.mark.parametrize("output_stride", [8, 16])


@pytest.mark.parametrize("width_mult", [0.35, 0.5, 1.0, 1.4])
@both_output_strides
def test_a_dilated_network_only_computes_more_positions(width_mult: float, output_stride: int) -> None:
    coarse = calibrated(build_backbone("mobilenet_v2", width_mult=width_mult, taps=ALL_TAPS), IMAGES)
    fine = build_backbone("mobilenet_v2", width_mult=width_mult, output_stride=output_stride, taps=ALL_TAPS)
    for expected, features in subsampled(coarse, fine).values():
        assert expected.std() > 0.05
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@both_output_strides
def test_dilating_the_block_that_loses_its_stride_too_spoils_the_features(output_stride: int) -> None:
    """torchvision and segmentation-models-pytorch dilate it; then pretrained weights give other features."""
    coarse = calibrated(build_backbone("mobilenet_v2", taps=ALL_TAPS), IMAGES)
    fine = MobileNet(dilating_the_first_block_too(plan(mobilenet_v2_spec(1.0), output_stride, ALL_TAPS)))
    expected, features = subsampled(coarse, fine)["c5"]
    assert (features - expected).norm() > 1e-3 * expected.norm()


@torch.no_grad()
def subsampled(coarse: Backbone, fine: Backbone) -> dict[str, tuple[Tensor, Tensor]]:
    """Of every tap the coarse map, and the fine map of the same weights at the same positions."""
    fine.load_state_dict(coarse.state_dict())
    dense = fine.eval()(IMAGES)
    steps = {name: coarse.feature_info[name].stride // fine.feature_info[name].stride for name in dense}
    return {name: (map_, dense[name][..., :: steps[name], :: steps[name]]) for name, map_ in coarse(IMAGES).items()}


def dilating_the_first_block_too(ours: BackbonePlan) -> BackbonePlan:
    blocks = (
        replace(block, dilation=block.dilation * printed.stride // block.stride)
        for block, printed in zip(ours.blocks, mobilenet_v2_spec(1.0).blocks, strict=True)
    )
    return replace(ours, blocks=tuple(blocks))
