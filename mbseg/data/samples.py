"""What the data side hands over: pictures with masks, and batches of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

UInt8Array = NDArray[np.uint8]


class Pair(NamedTuple):
    """The two files of one labelled picture."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Sample:
    """One labelled picture."""

    name: str
    image: UInt8Array  # [H, W, 3] RGB
    mask: UInt8Array  # [H, W] class ids, 255 ignored


class Batch(NamedTuple):
    """Labelled pictures as tensors; preprocessing is the task's."""

    names: list[str]
    images: Tensor  # [N, 3, H, W] uint8 RGB
    masks: Tensor  # [N, H, W] uint8, 255 ignored
