"""DeepLabV3's head (arXiv:1706.05587), dense, separable or without ASPP."""

from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo, Features
from mbseg.heads.aspp import Aspp, Pyramid
from mbseg.nn.conv import ConvNormAct
from mbseg.nn.init import initialize


class DeepLabV3(nn.Module):
    """The pyramid on one tap, classified.

    `refine` puts a 3x3 convolution before the classifier, as torchvision does; no paper has it.
    Shapes: features[at] [N, C, h, w] -> logits [N, num_classes, h, w].
    """

    def __init__(
        self,
        feature: FeatureInfo,
        *,
        at: str,
        num_classes: int,
        aspp: Aspp = "none",
        channels: int = 256,
        rates: tuple[int, int, int] | None = None,
        refine: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.at = at
        self.pyramid = Pyramid(feature, aspp=aspp, channels=channels, rates=rates)
        self.dropout = nn.Dropout(dropout)
        activation = nn.ReLU(inplace=True)
        self.refine = ConvNormAct(channels, channels, 3, activation=activation) if refine else nn.Identity()
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        initialize(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, features: Features) -> Tensor:
        logits: Tensor = self.classifier(self.refine(self.dropout(self.pyramid(features[self.at]))))
        return logits
