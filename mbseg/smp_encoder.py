"""mbseg's backbones as encoders of segmentation-models-pytorch (smp), through smp's own registry:

model = smp.Unet(register_encoder("mobilenet_v3_large"), encoder_weights=None, classes=21)
"""

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders._base import EncoderMixin  # what smp's manual has encoders inherit from
from torch import Tensor, nn

from mbseg.backbones.zoo import known_taps
from mbseg.create import create_backbone
from mbseg.errors import ConfigError
from mbseg.heads.smp_decoders import LEVELS


def register_encoder(
    backbone: str, *, width_mult: float = 1.0, reduced_tail: str | None = None, weights: str | None = None
) -> str:
    """Enters a backbone into smp's registry; the result is its name there, to be used with `encoder_weights=None`.

    The arguments are those of `mbseg.create_backbone`. They are part of the name, so that several encoders can stand
    side by side. Depth, input channels and output stride come from smp, which builds the encoder.
    Raises ConfigError for an unknown backbone; what the backbone cannot do is said when smp builds it.
    """
    known_taps(backbone)
    name = f"mbseg-{backbone}"
    name += f"-width_mult={width_mult:g}" if width_mult != 1 else ""
    name += f"-reduced_tail={reduced_tail}" if reduced_tail else ""
    name += f"-weights={weights}" if weights else ""
    params = {"backbone": backbone, "width_mult": width_mult, "reduced_tail": reduced_tail, "weights": weights}
    smp.encoders.encoders[name] = {"encoder": BackboneEncoder, "params": params, "pretrained_settings": {}}
    return name


class BackboneEncoder(nn.Module, EncoderMixin):  # type: ignore[misc]
    """A backbone as smp wants it: images [N, C, H, W] -> [images, c1, ..., c<depth>].

    A backbone without a map at stride 2 gives one with 0 channels there, as smp's own encoders do. Dilation is planned
    before the backbone is built, so the output stride (8, 16 or 32) is that of the model's creation.
    """

    def __init__(
        self,
        backbone: str,
        *,
        width_mult: float,
        reduced_tail: str | None,
        weights: str | None,
        depth: int = 5,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        if not 1 <= depth <= len(LEVELS):
            raise ConfigError(f"encoder_depth is {depth}; mbseg's encoders have 1 to {len(LEVELS)}")
        self.levels = LEVELS[:depth]
        known = known_taps(backbone)
        self.backbone = create_backbone(
            backbone,
            width_mult=width_mult,
            output_stride=output_stride,
            taps=[level for level in self.levels if level != "c1" or level in known],
            reduced_tail=reduced_tail,
            weights=weights,
        )
        info = self.backbone.feature_info
        self.pretrained = weights is not None
        self._in_channels = 3
        self._out_channels = [3, *(info[level].channels if level in info else 0 for level in self.levels)]
        self._depth = depth
        self._output_stride = output_stride

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.backbone(images)
        if "c1" not in features:
            height, width = images.shape[-2:]
            features["c1"] = images.new_empty((images.shape[0], 0, (height + 1) // 2, (width + 1) // 2))
        return [images, *(features[level] for level in self.levels)]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """Called by smp. It cannot know that weights are loaded, which then must not be drawn anew."""
        super().set_in_channels(in_channels, pretrained=pretrained or self.pretrained)

    def make_dilated(self, output_stride: int) -> None:
        """Called by smp behind the constructor, which has dilated the backbone already."""
        if output_stride != self._output_stride:
            raise ConfigError(
                f"this encoder was built for output stride {self._output_stride}; for {output_stride} build a new one"
            )
