"""The compiled parts of drawing and smoothing. Imports numba, so it is imported on first use."""

import numpy as np
from numpy.typing import NDArray

from mbseg.models.class_map_kernel import compiled

UInt8Array = NDArray[np.uint8]


@compiled
def blend(image: UInt8Array, mask: UInt8Array, table: UInt8Array, drawn: UInt8Array) -> None:
    """Fill drawn [H, W, 3]: what `table` [256, 3, 256] says of a pixel's class [H, W], channel and value."""
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            values = table[mask[row, column]]
            for channel in range(3):
                drawn[row, column, channel] = values[channel, image[row, column, channel]]


@compiled
def settle(mask: UInt8Array, shown: UInt8Array, doubt: UInt8Array, patience: int) -> None:
    """Bring the classes shown [H, W], and how much each is in doubt, up to date with the next frame's mask, in place.

    Doubt grows by one with every frame that says otherwise and shrinks by one with every frame that agrees; when it
    reaches `patience` (1 .. 255) the pixel takes its new class. Flat and without branches: vector instructions.
    """
    said, known, doubts = mask.ravel(), shown.ravel(), doubt.ravel()
    for pixel in range(said.size):
        agrees = said[pixel] == known[pixel]
        less = doubts[pixel] - (doubts[pixel] > 0)
        now = less if agrees else doubts[pixel] + 1
        changes = now >= patience
        known[pixel] = said[pixel] if changes else known[pixel]
        doubts[pixel] = 0 if changes else now
