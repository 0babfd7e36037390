"""The class map of a picture, and the plain way to it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mbseg import build
from mbseg.analysis.timing import torch_threads
from mbseg.benchmarks.comparison import VOC_CLASSES, Comparison, compare
from mbseg.data.reading import read_image
from mbseg.errors import ConfigError
from mbseg.models.class_map import class_map
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.weights.foreign import IMAGENET_MEAN, IMAGENET_STD

SIZE = (513, 513)
STRIDE = 16


def class_map_speeds(
    weights: Path | None, picture: Path | None, *, seconds: float, threads: Sequence[int]
) -> list[Comparison]:
    """Of noise, and of a trained network on a picture if both are named, at each number of threads."""
    logits = {"noise": noise_logits(SIZE)}
    if weights and picture:
        logits = {f"{weights.name} on {picture.name}": trained_logits(weights, picture, SIZE), **logits}
    return [
        class_map_speed(values, SIZE, what, seconds=seconds, threads=count)
        for what, values in logits.items()
        for count in threads
    ]


def class_map_speed(logits: Tensor, size: tuple[int, int], what: str, *, seconds: float, threads: int) -> Comparison:
    """The class map of one picture's logits [1, C, h, w], and the plain way to the same map."""

    def plain() -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True).argmax(1)

    def plain_max() -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True).max(1).indices

    with torch.inference_mode(), torch_threads(threads) as used:
        turns: dict[str, Callable[[], object]] = {
            "mbseg class_map": lambda: class_map(logits, size, align_corners=True),
            "interpolate + argmax": plain,
            "interpolate + max": plain_max,
        }
        differing = (class_map(logits, size, align_corners=True) != plain()).sum().item()
        title = (
            f"class map of {what}, {list(logits.shape[1:])} to {size[0]} x {size[1]}, {used} threads, "
            f"{differing} pixels differ"
        )
        return compare(title, turns, seconds=seconds)


def trained_logits(weights: Path, picture: Path, size: tuple[int, int]) -> Tensor:
    """Logits [1, C, h, w] of a trained network on a picture that is resized to `size`.

    Raises ConfigError for a detector's weights, and what `build.load` raises.
    """
    model = build.load(weights)
    if not isinstance(model, SegmentationModel):
        raise ConfigError(f"{weights} is a detector; --weights wants a segmenter here")
    image = Image.fromarray(read_image(picture)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    images = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    card = model.card
    normalize = Normalize(card.mean, card.std) if card else Normalize(IMAGENET_MEAN, IMAGENET_STD)
    with torch.inference_mode():
        logits: Tensor = model(normalize(images))
    return logits.contiguous()


def noise_logits(size: tuple[int, int]) -> Tensor:
    """The worst case: every cell mixed, every class a candidate."""
    height, width = ((side - 1) // STRIDE + 1 for side in size)
    return torch.randn(1, VOC_CLASSES, height, width, generator=torch.Generator().manual_seed(0))
