"""The classes of the mean of several passes: softmax at the picture's size, averaged, arg-max."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mbseg.models.class_map import axis, check, share

if TYPE_CHECKING:
    from mbseg.models.class_map_kernel import Axis

Size = tuple[int, int]  # (height, width)
Floats = NDArray[np.float32]
Counts = NDArray[np.int32]

ONE = 2**30  # a mean probability of 1: probabilities are added as whole numbers
BAND = 16  # rows that are summed at once: their sums stay in the cache
PIXELS_PER_THREAD = 2**14  # fewer are done before another thread has woken up


@dataclass(frozen=True)
class Upsampling:
    """How the logits of a pass become the picture's: enlarged to `frame`, of which the upper left is the picture."""

    frame: Size
    picture: Size
    align_corners: bool


class MeanProbabilities(ABC):
    """Takes the logits of one pass after the other, and decides.

    The probabilities are added as whole numbers, 2^30 to the mean probability 1. Such a sum is the same in any order:
    the mirrored picture, whose passes come in another one, has exactly the mirrored class map.
    """

    def __init__(self, upsampling: Upsampling, passes: int) -> None:
        self.upsampling = upsampling
        self.unit = ONE / passes

    @abstractmethod
    def add(self, logits: Tensor, *, mirrored: bool) -> None:
        """Logits [N, C, h, w] of the pictures or of their mirror images. Raises ConfigError as `class_map` does."""

    @abstractmethod
    def class_map(self) -> Tensor:
        """The first most probable class of each pixel: uint8 [N, height, width] of the picture."""


def mean_probabilities(device: torch.device, upsampling: Upsampling, passes: int) -> MeanProbabilities:
    return (FusedMean if device.type == "cpu" else PlainMean)(upsampling, passes)


@final
class PlainMean(MeanProbabilities):
    """torch's operations, one after the other, on any device."""

    def __init__(self, upsampling: Upsampling, passes: int) -> None:
        super().__init__(upsampling, passes)
        self.total: Tensor | None = None  # int32 [N, C, height, width]

    def add(self, logits: Tensor, *, mirrored: bool) -> None:
        frame, (height, width) = self.upsampling.frame, self.upsampling.picture
        check(logits, frame)
        align_corners = self.upsampling.align_corners
        dense = functional.interpolate(logits.float(), size=frame, mode="bilinear", align_corners=align_corners)
        counts = dense[..., :height, :width].softmax(1).mul_(self.unit).int()
        counts = counts.flip(-1) if mirrored else counts
        self.total = counts if self.total is None else self.total.add_(counts)

    def class_map(self) -> Tensor:
        assert self.total is not None
        return self.total.argmax(1).to(torch.uint8)


class Pass(NamedTuple):
    logits: Floats  # [N, C, h, w], contiguous
    rows: "Axis"  # of the frame
    columns: "Axis"  # of the frame; for a mirror image those of the picture, from right to left


@final
class FusedMean(MeanProbabilities):
    """All passes in one sweep over the picture, of whose size nothing is held but the class map; on the CPU.

    Until then the logits wait, since those of all passes together are usually smaller than one picture's probabilities.
    Logits of a small stride are not: what waits is summed up as soon as there is more of it than of sums.
    """

    def __init__(self, upsampling: Upsampling, passes: int) -> None:
        super().__init__(upsampling, passes)
        self.pictures, self.classes = 0, 0
        self.waiting: list[Pass] = []
        self.total: Counts | None = None  # [height, N, C, width], of the passes that wait no more

    def add(self, logits: Tensor, *, mirrored: bool) -> None:
        check(logits, self.upsampling.frame)
        self.pictures, self.classes = logits.shape[:2]
        self.waiting.append(self._pass(logits.float().contiguous(), mirrored))
        if sum(math.prod(one.logits.shape[2:]) for one in self.waiting) > math.prod(self.upsampling.picture):
            self._sum_up()

    def class_map(self) -> Tensor:
        from mbseg.models import mean_probabilities_kernel

        mask = torch.empty((self.pictures, *self.upsampling.picture), dtype=torch.uint8)
        classes = mask.numpy()
        self._sweep(lambda first, end: mean_probabilities_kernel.decide(self._sums(first, end), classes, first))
        return mask

    def _pass(self, logits: Tensor, mirrored: bool) -> Pass:
        height, width = self.upsampling.frame
        rows = axis(logits.shape[2], height, self.upsampling.align_corners)
        columns = axis(logits.shape[3], width, self.upsampling.align_corners)
        return Pass(logits.numpy(), rows, mirror(columns, self.upsampling.picture[1]) if mirrored else columns)

    def _sum_up(self) -> None:
        """Let nothing wait any more."""
        height, width = self.upsampling.picture
        if self.total is None:
            self.total = torch.zeros((height, self.pictures, self.classes, width), dtype=torch.int32).numpy()
        self._sweep(self._sums)
        self.waiting.clear()

    def _sums(self, first: int, end: int) -> Counts:
        """Rows first .. end of the sums [rows, N, C, width]; those in `total` are added to."""
        from mbseg.models import mean_probabilities_kernel

        shape = (end - first, self.pictures, self.classes, self.upsampling.picture[1])
        sums = np.zeros(shape, np.int32) if self.total is None else self.total[first:end]
        for one in self.waiting:
            mean_probabilities_kernel.add(*one, np.float32(self.unit), first, sums)
        return sums

    def _sweep(self, work: Callable[[int, int], object]) -> None:
        """Call work(first row, end) for all bands of the picture."""

        def fill(start: int, stop: int) -> None:
            for first in range(start, stop, BAND):
                work(first, min(first + BAND, stop))

        height, width = self.upsampling.picture
        share(fill, height, self.pictures * height * width // PIXELS_PER_THREAD)


def mirror(places: "Axis", pixels: int) -> "Axis":
    """The places of the first `pixels` pixels, the last of them first."""
    return places._replace(
        before=np.ascontiguousarray(places.before[:pixels][::-1]),
        after=np.ascontiguousarray(places.after[:pixels][::-1]),
        weight=np.ascontiguousarray(places.weight[:pixels][::-1]),
    )
