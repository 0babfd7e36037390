"""Dense prediction with MobileNet backbones. The names below are the public ones.

They are imported when they are first used, so that `mbseg --help` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbseg.analysis.profile import profile
    from mbseg.backbones.variant import Variant
    from mbseg.build import load
    from mbseg.create import create_backbone, create_segmenter
    from mbseg.detectors import create_detector
    from mbseg.joint import create_joint
    from mbseg.models.class_map import class_map

__version__ = "0.1.0"
__all__ = [
    "Variant",
    "class_map",
    "create_backbone",
    "create_detector",
    "create_joint",
    "create_segmenter",
    "load",
    "profile",
]

_HOMES = {
    "Variant": "mbseg.backbones.variant",
    "class_map": "mbseg.models.class_map",
    "create_backbone": "mbseg.create",
    "create_detector": "mbseg.detectors",
    "create_joint": "mbseg.joint",
    "create_segmenter": "mbseg.create",
    "load": "mbseg.build",
    "profile": "mbseg.analysis.profile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mbseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
