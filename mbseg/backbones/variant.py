"""Ways in which a MobileNet may differ from its paper."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from mbseg.backbones.ablation import Bottleneck, Shortcut
from mbseg.backbones.dilation import DilationPlan
from mbseg.errors import ConfigError
from mbseg.nn.conv import Padding


@dataclass(frozen=True)
class Variant:
    """The first three make room for other libraries' weights, the next two are the V2 paper's ablations.

    The last two are for detectors.
    """

    padding: Padding = "symmetric"
    channel_divisor: Literal[1, 8] = 8  # 1: the channels of a width are not rounded
    dilation_plan: DilationPlan = "standard"
    bottleneck: Bottleneck = "linear"
    shortcut: Shortcut = "bottleneck"
    narrow_last_conv: Literal[False, True] = False  # V2: shrinks below width 1, as in the detectors of the papers
    coarse_last_conv: Literal[False, True] = False  # keeps its undilated stride, whatever that of the blocks before it

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that there is not."""
        for field in fields(self):
            value, allowed = getattr(self, field.name), get_args(field.type)
            if value not in allowed:
                raise ConfigError(f"{field.name} is {value!r}; it can be {', '.join(map(str, allowed))}")


AS_PUBLISHED = Variant()
