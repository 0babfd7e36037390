"""Class maps drawn over pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mbseg.video.opencv import quiet_cv2

UInt8Array = NDArray[np.uint8]
Colour = tuple[int, int, int]  # RGB
GAP = 12  # pixels


def overlay(image: UInt8Array, mask: UInt8Array, palette: Sequence[Colour], *, opacity: float = 0.6) -> UInt8Array:
    """Picture [H, W, 3] with the colours of its class map [H, W] over it; both RGB, or both BGR.

    Ignored pixels (255) stay bare, and so do classes whose colour is black, as the background's is in most palettes.
    """
    cv2 = quiet_cv2()
    colours = colour_table(palette)
    blended = cv2.addWeighted(image, 1 - opacity, colours[mask], opacity, 0)
    bare = (colours.max(1) == 0).astype(np.uint8)
    drawn: UInt8Array = cv2.copyTo(image, bare[mask], blended)
    return drawn


def colour_table(palette: Sequence[Colour]) -> UInt8Array:
    """[256, 3]; black beyond the palette."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
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
