"""What the values and colours of masks mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbseg.data.samples import UInt8Array
from mbseg.errors import DataError

IGNORE_INDEX = 255  # pixels neither in the loss nor in mIoU, in every data set

Colour = tuple[int, int, int]  # RGB
Palette = tuple[Colour, ...]  # one colour a label value


def voc_palette(length: int = 256) -> Palette:
    """PASCAL VOC's colours, by its formula: three bits of the label at a time fill R, G, B from the highest bit."""
    return tuple(_voc_colour(label) for label in range(length))


def _voc_colour(label: int) -> Colour:
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]


def labels_of_colours(colours: UInt8Array, palette: Palette) -> UInt8Array:
    """Turn an RGB mask [H, W, 3] into label values [H, W]. Raises DataError for a colour that the palette lacks."""
    keys = _keys(np.array(palette, np.uint8))
    order = np.argsort(keys)
    wanted = _keys(colours)
    labels: NDArray[np.intp] = order[np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)]
    if (strange := keys[labels] != wanted).any():
        raise DataError(f"its colour {colours[strange][0].tolist()} is not in the palette of the data set")
    return labels.astype(np.uint8)


def _keys(colours: UInt8Array) -> NDArray[np.uint32]:
    """One number a colour."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


@dataclass(frozen=True)
class LabelMap:
    """How the masks of a data set tell its classes."""

    num_classes: int
    void: tuple[int, ...] = ()  # label values ignored like 255
    palette: Palette | None = None  # the colour of each label value; None: a mask of colours has no meaning
    values: tuple[int, ...] | None = None  # the label value of each class; None: its id

    @property
    def class_values(self) -> tuple[int, ...]:
        return tuple(range(self.num_classes)) if self.values is None else self.values

    @property
    def ignored_values(self) -> tuple[int, ...]:
        return tuple(sorted({*self.void, IGNORE_INDEX}))


def class_ids(labels: NDArray[Any], label_map: LabelMap) -> UInt8Array:
    """Class ids and 255 from label values [H, W] of any integer type. Raises DataError for a value without meaning."""
    class_of_value = np.full(256, -1, np.int16)
    class_of_value[list(label_map.class_values)] = np.arange(label_map.num_classes)
    class_of_value[list(label_map.ignored_values)] = IGNORE_INDEX
    classes: NDArray[np.int16] = class_of_value[np.clip(labels, 0, 255)]
    if (strange := (classes < 0) | (labels > 255) | (labels < 0)).any():
        known, ignored = ranges(sorted(label_map.class_values)), ranges(label_map.ignored_values)
        raise DataError(f"label {labels[strange][0]} is neither in {known} nor {ignored} (ignored)")
    return classes.astype(np.uint8)


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in words: 0, 1, 2, 5 is "0..2 and 5"."""
    steps = [index for index in range(1, len(numbers)) if numbers[index] != numbers[index - 1] + 1]
    bounds = zip([0, *steps], [*steps, len(numbers)], strict=True)
    parts = [_range(numbers[first], numbers[end - 1]) for first, end in bounds]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"
