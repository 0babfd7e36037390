"""What the values and colours of masks mean."""

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


def checked_labels(labels: NDArray[Any], num_classes: int, void: tuple[int, ...]) -> UInt8Array:
    """Class ids and 255 from label values [H, W] of any integer type. Raises DataError for a value that is neither."""
    class_of_label = np.full(256, -1, np.int16)
    class_of_label[:num_classes] = np.arange(num_classes)
    class_of_label[[*void, IGNORE_INDEX]] = IGNORE_INDEX
    classes: NDArray[np.int16] = class_of_label[np.clip(labels, 0, 255)]
    if (strange := (classes < 0) | (labels > 255) | (labels < 0)).any():
        ignored = " and ".join(str(value) for value in sorted({*void, IGNORE_INDEX}))
        raise DataError(f"label {labels[strange][0]} is neither in 0..{num_classes - 1} nor {ignored} (ignored)")
    return classes.astype(np.uint8)
