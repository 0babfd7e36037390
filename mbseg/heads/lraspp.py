"""Lite R-ASPP, the head of MobileNetV3 (arXiv:1905.02244, section 6.4, Figure 10)."""

import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo, Features
from mbseg.heads.aspp import ImageGate
from mbseg.nn.conv import ConvNormAct
from mbseg.nn.init import initialize


class LRASPP(nn.Module):
    """A deep map, gated channel by channel by its own mean, and a fine one, each classified; the sum is the answer.

    The mean is taken over the whole map (the paper pools 49 x 49 windows of its large pictures).
    Shapes: features[at] [N, C, h, w], features[low_at] [N, c, H, W] -> logits [N, num_classes, H, W].
    """

    def __init__(
        self,
        deep: FeatureInfo,
        low: FeatureInfo,
        *,
        at: str,
        low_at: str,
        num_classes: int,
        channels: int = 128,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.at, self.low_at = at, low_at
        self.align_corners = align_corners
        self.project = ConvNormAct(deep.channels, channels, activation=nn.ReLU(inplace=True))
        self.gate = ImageGate(deep.channels, channels)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.low_classifier = nn.Conv2d(low.channels, num_classes, 1)
        initialize(self)
        for classifier in (self.classifier, self.low_classifier):
            nn.init.normal_(classifier.weight, std=0.01)

    def forward(self, features: Features) -> Tensor:
        deep, low = features[self.at], features[self.low_at]
        gated = self.project(deep) * self.gate(deep)
        fine = F.interpolate(gated, size=low.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        logits: Tensor = self.classifier(fine) + self.low_classifier(low)
        return logits
