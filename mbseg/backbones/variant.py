"""Ways in which a MobileNet may differ from its paper."""

from dataclasses import dataclass

from mbseg.backbones.ablation import Bottleneck, Shortcut
from mbseg.backbones.dilation import DilationPlan
from mbseg.nn.conv import Padding


@dataclass(frozen=True)
class Variant:
    """The first three make room for other libraries' weights, the next two are the V2 paper's ablations."""

    padding: Padding = "symmetric"
    channel_divisor: int = 8  # 1: the channels of a width are not rounded
    dilation_plan: DilationPlan = "standard"
    bottleneck: Bottleneck = "linear"
    shortcut: Shortcut = "bottleneck"
    narrow_last_conv: bool = False  # V2's last convolution shrinks below width 1, as in the papers' detectors


AS_PUBLISHED = Variant()
