"""DeepLabV3's head (arXiv:1706.05587), dense, separable or without ASPP."""

import torch
from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo, Features
from mbseg.heads.aspp import Aspp, ImagePooling, pyramid
from mbseg.nn.conv import ConvNormAct
from mbseg.nn.init import initialize


class DeepLabV3(nn.Module):
    """Pyramid and image pooling on one tap, concatenated, projected, classified.

    "No ASPP" (MobileNetV2 paper, section 6.3; R-ASPP in the V3 paper) leaves out the three atrous branches and keeps
    the image pooling. Shapes: features[at] [N, C, h, w] -> logits [N, num_classes, h, w].
    """

    def __init__(
        self,
        feature: FeatureInfo,
        *,
        at: str,
        num_classes: int,
        aspp: Aspp = "none",
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.at = at
        self.branches = pyramid(feature.channels, channels, aspp=aspp, output_stride=feature.stride)
        self.image_pooling = ImagePooling(feature.channels, channels)
        joined = channels * (len(self.branches) + 1)
        self.project = ConvNormAct(joined, channels, activation=nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        initialize(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, features: Features) -> Tensor:
        x = features[self.at]
        joined = torch.cat([*(branch(x) for branch in self.branches), self.image_pooling(x)], dim=1)
        logits: Tensor = self.classifier(self.dropout(self.project(joined)))
        return logits
