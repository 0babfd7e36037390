import pytest
import torch
from torch import Tensor, nn

from mbseg.analysis.memory import PeakMemory
from mbseg.analysis.profile import profile
from mbseg.create import create_backbone
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel

SIZE = (9, 13)
MAP = 4 * 9 * 13  # bytes of one float32 channel
INPUT = 3 * MAP


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.second(self.first(images))


class KeepsBoth(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        first = images * 2
        second = images * 3
        return torch.cat([first, second], dim=1)


def peak(model: nn.Module) -> int:
    return profile(model, image_size=SIZE).peak_activation_bytes


def test_a_map_lives_until_the_next_one_is_made():
    chain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    assert peak(chain) == INPUT + (8 + 8) * MAP  # convolution and its rectified copy; then 8 + 5


def test_work_in_place_takes_no_memory():
    chain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 5, 1))
    assert peak(chain) == INPUT + (8 + 5) * MAP


def test_views_take_no_memory():
    chain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(2), nn.Unflatten(2, SIZE))
    assert peak(chain) == INPUT + 8 * MAP


def test_weights_are_no_activations():
    assert peak(nn.Linear(13, 2)) == INPUT + 3 * 9 * 2 * 4


def test_batch_norm_makes_one_map():
    assert peak(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))) == INPUT + (8 + 8) * MAP


def test_a_residual_block_holds_its_input():
    assert peak(nn.Sequential(nn.Conv2d(3, 3, 1), Residual())) == INPUT + (3 + 8 + 3) * MAP


def test_what_a_function_still_names_is_held():
    assert peak(KeepsBoth()) == INPUT + (3 + 3 + 6) * MAP


def test_memory_grows_with_the_picture_alone():
    conv = nn.Conv2d(3, 8, 3, padding=1)
    small, large = (profile(conv, image_size=size).peak_activation_bytes for size in ((16, 16), (32, 48)))
    assert large == 6 * small


@pytest.mark.parametrize("aspp", ["none", "dense"])
def test_shapes_alone_give_the_peak_of_a_real_run(aspp):
    backbone = create_backbone("mobilenet_v2", width_mult=0.35, output_stride=16, taps=("c5",))
    head = DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=4, aspp=aspp)
    model = SegmentationModel(backbone, head).eval()
    images = torch.zeros(1, 3, 65, 97)
    with torch.no_grad(), PeakMemory(model, images) as memory:
        model(images)
    assert profile(model, image_size=(65, 97)).peak_activation_bytes == memory.peak_bytes
