"""How pictures are framed for the network and class maps brought back."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mbseg.backbones.base import Backbone, FeatureInfo, Features
from mbseg.models.prediction import Predictor, Protocol, fit_longer_side, on_grid
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize

STRIDE = 8


class EveryEighthPixel(Backbone):
    """A "network" whose features are the pixels themselves: what comes back tells where each was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = {"c3": FeatureInfo(3, STRIDE)}

    def forward(self, images: Tensor) -> Features:
        return {"c3": images[..., ::STRIDE, ::STRIDE]}


class TakeFeature(nn.Module):
    def forward(self, features: Features) -> Tensor:
        return features["c3"]


def predictor(protocol: Protocol, *, align_corners: bool = True) -> Predictor:
    model = SegmentationModel(EveryEighthPixel(), TakeFeature(), align_corners=align_corners)
    return Predictor(model, Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), protocol)


def columns(height: int, width: int) -> Tensor:
    """Red in the left half, green in the right: the class map should be 0 and 1."""
    images = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    images[:, 0, :, : width // 2] = 255
    images[:, 1, :, width // 2 :] = 255
    return images


@given(st.integers(9, 70), st.integers(9, 70))
def test_a_class_map_has_the_pictures_own_size_and_its_borders_where_they_are(height: int, width: int) -> None:
    mask = predictor(Protocol())(columns(height, width))
    assert mask.shape == (1, height, width)
    assert mask.dtype == torch.uint8
    border = (mask[0] == 0).sum(1).float().mean().item()
    assert abs(border - width // 2) <= STRIDE / 2 + 1


@pytest.mark.parametrize("protocol", [Protocol(pad_to=(65, 65)), Protocol(resize_longer_side=65, pad_to=(65, 65))])
def test_padding_and_resizing_are_undone(protocol: Protocol) -> None:
    mask = predictor(protocol)(columns(40, 60))
    assert mask.shape == (1, 40, 60)
    assert (mask[0, :, :24] == 0).all()
    assert (mask[0, :, 36:] == 1).all()


def test_the_mean_of_equal_passes_is_the_plain_prediction() -> None:
    images = torch.randint(0, 256, (2, 3, 41, 57), dtype=torch.uint8)
    plain = predictor(Protocol())(images)
    averaged = predictor(Protocol(scales=(1.0, 1.0)))(images)
    assert (plain == averaged).float().mean() > 0.999  # ties apart: averaging rounds


def test_with_the_mirror_image_a_mirrored_picture_gives_the_mirrored_map() -> None:
    images = torch.randint(0, 256, (1, 3, 41, 57), dtype=torch.uint8)
    both = predictor(Protocol(flip=True))
    assert (both(images.flip(-1)).flip(-1) == both(images)).float().mean() > 0.999


def test_several_scales_average_probabilities_at_the_pictures_size() -> None:
    images = torch.randint(0, 256, (1, 3, 41, 41), dtype=torch.uint8)
    run = predictor(Protocol(scales=(1.0, 2.0)))
    normalized = run.normalize(images)
    expected = torch.zeros(1, 3, 41, 41)
    for size in (41, 81):
        scaled = F.interpolate(normalized, size=(size, size), mode="bilinear", align_corners=False)
        logits = run.model(scaled)
        expected += F.interpolate(logits, size=(41, 41), mode="bilinear", align_corners=True).softmax(1)
    assert torch.equal(run(images)[0], expected.argmax(1)[0].to(torch.uint8))


@given(st.integers(1, 2000), st.sampled_from([8, 16, 32]))
def test_the_grid_is_the_next_size_on_which_features_lie_exactly(size: int, stride: int) -> None:
    grid, _ = on_grid((size, size), stride)
    assert grid % stride == 1 % stride
    assert size <= grid < size + stride


def test_without_aligned_corners_a_picture_keeps_its_size() -> None:
    assert predictor(Protocol(), align_corners=False).input_size((40, 50)) == (40, 50)
    assert predictor(Protocol()).input_size((40, 50)) == (41, 57)


def test_the_longer_side_is_fitted_and_the_ratio_kept() -> None:
    assert fit_longer_side((300, 400), 200) == (150, 200)
    assert fit_longer_side((300, 400), None) == (300, 400)


def test_the_protocol_says_what_is_done() -> None:
    assert predictor(Protocol()).describe().startswith("padded by its border pixels to 8 k + 1, own size")
    text = str(Protocol(scales=(0.5, 1.0), flip=True, pad_to=(513, 513)))
    assert "padded to 513 x 513 with 127.5, scales 0.5, 1, with mirror image" in text
