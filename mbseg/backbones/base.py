"""What every backbone gives: feature maps under names, and the facts about them."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

Features = dict[str, Tensor]  # keyed by tap name, each [N, channels, ceil(H / stride), ceil(W / stride)]


class FeatureInfo(NamedTuple):
    """The facts of one feature map."""

    channels: int
    stride: int  # picture size / size of this map, after dilation


class Backbone(nn.Module, ABC):
    """A network body. `feature_info` holds exactly the maps that `forward` returns."""

    feature_info: dict[str, FeatureInfo]

    @abstractmethod
    def forward(self, images: Tensor) -> Features:
        """Normalised images [N, 3, H, W] -> the feature maps named in `feature_info`."""
