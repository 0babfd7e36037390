"""How pictures are framed for the network and class maps brought back."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mbseg.analysis.memory import PeakMemory
from mbseg.backbones.base import Backbone, FeatureInfo, Features
from mbseg.create import create_segmenter
from mbseg.models.class_map import class_map
from mbseg.models.framing import Protocol, fit_longer_side, on_grid, scaled
from mbseg.models.mean_probabilities import Size
from mbseg.models.prediction import Predictor
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize
from tests.helpers import calibrated

STRIDE = 8


class SomePixels(Backbone):
    """A "network" whose features are the pixels themselves: what comes back tells where each was taken."""

    def __init__(self, stride: int = STRIDE) -> None:
        super().__init__()
        self.feature_info = {"c3": FeatureInfo(3, stride)}
        self.stride = stride

    def forward(self, images: Tensor) -> Features:
        return {"c3": images[..., :: self.stride, :: self.stride]}


class TakeFeature(nn.Module):
    def forward(self, features: Features) -> Tensor:
        return features["c3"]


def predictor(protocol: Protocol, *, align_corners: bool = True) -> Predictor:
    model = SegmentationModel(SomePixels(), TakeFeature(), align_corners=align_corners)
    return Predictor(model, Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), protocol)


def columns(height: int, width: int) -> Tensor:
    """Red in the left half, green in the right: the class map should be 0 and 1."""
    images = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    images[:, 0, :, : width // 2] = 255
    images[:, 1, :, width // 2 :] = 255
    return images


def noise(batch: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


def small_network(images: Tensor, protocol: Protocol) -> Predictor:
    model = create_segmenter("mobilenet_v3_small", head="lraspp", num_classes=21)
    normalize = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Predictor(calibrated(model, normalize(images)), normalize, protocol)


def peak_bytes(run: Predictor, images: Tensor) -> int:
    with torch.inference_mode(), PeakMemory(run.model, images) as memory:
        run(images)
    return memory.peak_bytes


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
    images = noise(2, 41, 57)
    plain = predictor(Protocol())(images)
    averaged = predictor(Protocol(scales=(1.0, 1.0)))(images)
    assert (plain == averaged).float().mean() > 0.999  # ties apart: averaging rounds


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.5])
@pytest.mark.parametrize("align_corners", [True, False])
def test_one_pass_is_decided_by_class_map(scale: float, align_corners: bool) -> None:
    images = noise(1, 41, 57)
    run = predictor(Protocol(scales=(scale,)), align_corners=align_corners)
    framed = run.normalize(images)
    size = (int(40 * scale + 1), int(56 * scale + 1))
    if scale != 1:
        framed = F.interpolate(framed, size=size, mode="bilinear", align_corners=align_corners)
    assert torch.equal(run(images), class_map(run.model(framed), (41, 57), align_corners))


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(9, 70), st.integers(9, 70)),
    batch=st.integers(1, 2),
    scales=st.sampled_from([(1.0,), (0.5,), (0.5, 1.0, 1.75), (1.25, 0.75)]),
    longer_side=st.sampled_from([None, 33, 90]),
    pad_to=st.sampled_from([None, (65, 65), (97, 129)]),
    align_corners=st.booleans(),
)
def test_with_the_mirror_image_a_mirrored_picture_gives_the_mirrored_map(
    size: Size, batch: int, scales: tuple[float, ...], longer_side: int | None, pad_to: Size | None, align_corners: bool
) -> None:
    images = noise(batch, *size)
    protocol = Protocol(scales, flip=True, resize_longer_side=longer_side, pad_to=pad_to)
    both = predictor(protocol, align_corners=align_corners)
    assert torch.equal(both(images.flip(-1)), both(images).flip(-1))


def test_a_real_network_gives_the_mirrored_map_too() -> None:
    images = noise(2, 70, 99)
    run = small_network(images, Protocol(scales=(0.75, 1.0, 1.5), flip=True))
    mask = run(images)
    assert mask.unique().numel() > 3
    assert torch.equal(run(images.flip(-1)), mask.flip(-1))


@pytest.mark.parametrize("align_corners", [True, False])
def test_several_scales_average_probabilities_at_the_pictures_size(align_corners: bool) -> None:
    images = noise(2, 41, 57)
    run = predictor(Protocol(scales=(1.0, 2.0, 0.5), flip=True), align_corners=align_corners)
    expected = torch.zeros(2, 3, 41, 57)
    for size in ((41, 57), (81, 113), (21, 29)):
        for mirrored in (False, True):
            framed = run.normalize(images.flip(-1) if mirrored else images)
            resized = F.interpolate(framed, size=size, mode="bilinear", align_corners=align_corners)
            logits = run.model(resized)
            dense = F.interpolate(logits, size=(41, 57), mode="bilinear", align_corners=align_corners).softmax(1)
            expected += dense.flip(-1) if mirrored else dense
    assert torch.equal(run(images), expected.argmax(1).to(torch.uint8))


def test_the_order_of_the_scales_does_not_matter() -> None:
    images = noise(1, 45, 57)
    masks = [predictor(Protocol(scales, flip=True))(images) for scales in ((0.5, 1.0, 1.75), (1.0, 1.75, 0.5))]
    assert torch.equal(*masks)


def test_a_batch_gives_the_maps_of_its_pictures() -> None:
    images = noise(3, 45, 57)
    run = predictor(Protocol(scales=(0.5, 1.0), flip=True))
    assert torch.equal(run(images), torch.cat([run(image[None]) for image in images]))


@pytest.mark.parametrize(
    ("fewer", "more"),
    [
        (Protocol(), Protocol((0.5, 1.0))),
        (Protocol(), Protocol((1.0, 1.0))),
        (Protocol(), Protocol(flip=True)),
        (Protocol((1.75,)), Protocol((0.5, 0.75, 1.0, 1.25, 1.5, 1.75))),
        (Protocol((1.75,), flip=True), Protocol((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)),
    ],
)
def test_more_passes_that_are_no_larger_take_no_more_memory(fewer: Protocol, more: Protocol) -> None:
    images = noise(1, 129, 193)
    assert peak_bytes(small_network(images, more), images) < 1.1 * peak_bytes(small_network(images, fewer), images)


def test_logits_of_every_pixel_are_summed_up_as_they_come() -> None:
    images = noise(1, 65, 65)
    model = SegmentationModel(SomePixels(stride=1), TakeFeature(), align_corners=True)
    three, twelve = (Predictor(model, nn.Identity(), Protocol((1.0,) * passes)) for passes in (3, 12))
    assert peak_bytes(twelve, images) == peak_bytes(three, images)


def test_scaled_sizes_are_those_of_the_papers_six_scales() -> None:
    """TensorFlow DeepLab's rule; 513 becomes the sizes of Table 7, arXiv:1801.04381."""
    sides = [scaled((513, 375), scale) for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
    assert sides == [(257, 188), (385, 281), (513, 375), (641, 468), (769, 562), (897, 655)]


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
