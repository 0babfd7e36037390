"""Class maps drawn over pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mbseg.video.opencv import quiet_cv2

UInt8Array = NDArray[np.uint8]
Colour = tuple[int, int, int]  # RGB
OPACITY = 0.6
GAP = 12  # pixels


def overlay(image: UInt8Array, mask: UInt8Array, palette: Sequence[Colour], *, opacity: float = OPACITY) -> UInt8Array:
    """Picture [H, W, 3] with the colours of its class map [H, W] over it; both RGB, or both BGR.

    Ignored pixels (255) stay bare, and so do classes whose colour is black, as the background's is in most palettes.
    """
    return blended(image, mask, blend_table(palette, opacity))


def blended(image: UInt8Array, mask: UInt8Array, table: UInt8Array) -> UInt8Array:
    """Picture [H, W, 3] with its class map [H, W] over it, by a table of `blend_table`."""
    from mbseg.video import kernels  # on first use: numba takes a while to import

    assert image.shape == (*mask.shape, 3)  # compiled code does not look where it writes
    drawn = np.empty(image.shape, np.uint8)
    kernels.blend(np.ascontiguousarray(image), np.ascontiguousarray(mask), table, drawn)
    return drawn


def blend_table(palette: Sequence[Colour], opacity: float) -> UInt8Array:
    """[256, 3, 256]: what becomes of a pixel's value in each channel under the colour of each class.

    Every sum that a picture can ask for, made once by OpenCV: looked up, a frame takes a thirtieth of the time.
    """
    cv2 = quiet_cv2()
    colours = colour_table(palette)
    values = np.tile(np.arange(256, dtype=np.uint8), (256 * 3, 1))
    covers = np.repeat(colours.reshape(-1, 1), 256, axis=1)
    table: UInt8Array = cv2.addWeighted(values, 1 - opacity, covers, opacity, 0).reshape(256, 3, 256)
    table[colours.max(1) == 0] = np.arange(256)
    return table


def colour_table(palette: Sequence[Colour]) -> UInt8Array:
    """[256, 3]; black beyond the palette."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.reshape(palette, (-1, 3))
    return table


def grid(pictures: Sequence[UInt8Array], *, columns: int) -> UInt8Array:
    """Pictures of one size in rows from the left, a white gap between them; white where a row is not full."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + GAP), (index % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def side_by_side(*pictures: UInt8Array) -> UInt8Array:
    """Pictures of one height in a row, a white line between them."""
    line = np.full((pictures[0].shape[0], 2, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, line)]
    return np.concatenate(parts[:-1], axis=1)
