"""DeepLabV3+ (arXiv:1802.02611): the encoder's answer at a coarse stride, sharpened by a decoder at a fine one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo, Features
from mbseg.heads.aspp import Aspp, Pyramid
from mbseg.nn.blocks import separable_conv
from mbseg.nn.conv import ConvNormAct
from mbseg.nn.init import initialize

LOW_CHANNELS = 48  # section 4.1, Table 1


class DeepLabV3Plus(nn.Module):
    """ASPP on one tap, upsampled to a low-level tap, two separable 3x3 convolutions over both, classified.

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
        aspp: Aspp = "separable",
        channels: int = 256,
        rates: tuple[int, int, int] | None = None,
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.at, self.low_at = at, low_at
        self.align_corners = align_corners
        self.pyramid = Pyramid(deep, aspp=aspp, channels=channels, rates=rates)
        self.dropout = nn.Dropout(dropout)  # on the coarse map: on the fine one it costs as much as a layer
        self.low = ConvNormAct(low.channels, LOW_CHANNELS, activation=nn.ReLU(inplace=True))
        self.decoder = nn.Sequential(
            separable_conv(channels + LOW_CHANNELS, channels), separable_conv(channels, channels)
        )
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        initialize(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, features: Features) -> Tensor:
        low = self.low(features[self.low_at])
        deep = self.dropout(self.pyramid(features[self.at]))
        deep = F.interpolate(deep, size=low.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        logits: Tensor = self.classifier(self.decoder(torch.cat([deep, low], dim=1)))
        return logits
