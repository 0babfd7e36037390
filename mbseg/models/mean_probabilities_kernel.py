"""The compiled part of `mean_probabilities`. Imports numba, so it is imported on first use.

Line by line, so that what is worked on stays in the nearest cache: the logits are interpolated to the pixels of a line,
class by class, and their softmax is added to the sums. The loops over pixels have no branches and call nothing, so that
the compiler makes vector instructions of them; a call of `exp` would take four fifths of the time.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mbseg.models.class_map_kernel import Axis, Classes, Floats, compiled, interpolate_line

Counts = NDArray[np.int32]

ONE = np.float32(1)
HALF = np.float32(0.5)
LOG2_E = np.float32(math.log2(math.e))
SMALLEST_EXPONENT = np.float32(-126)  # of a normal float32
BIAS, MANTISSA_BITS = np.int32(127), np.int32(23)  # of a float32
# 2^x is sum of (x ln 2)^n / n!: beyond the sixth power nothing is left of it for |x| <= 1/2 in float32
P1, P2, P3, P4, P5, P6 = (np.float32(math.log(2) ** n / math.factorial(n)) for n in range(1, 7))


@compiled
def add(logits: Floats, rows: Axis, columns: Axis, unit: np.float32, first: int, sums: Counts) -> None:
    """Add softmax times unit to sums [rows, N, C, W] of the picture's rows from `first` on; logits are [N, C, h, w]."""
    count, pictures, classes, width = sums.shape
    coarse, fine = np.empty((classes, logits.shape[3]), np.float32), np.empty((classes, width), np.float32)
    for row in range(count):
        place = first + row
        weight = rows.weight[place]
        for picture in range(pictures):
            above, below = logits[picture, :, rows.before[place]], logits[picture, :, rows.after[place]]
            for label in range(classes):
                coarse[label] = above[label] * (ONE - weight) + below[label] * weight
                interpolate_line(coarse[label], columns, 0, width, fine[label])
            add_softmax(fine, unit, sums[row, picture])


@compiled
def add_softmax(line: Floats, unit: np.float32, sums: Counts) -> None:
    """Add the softmax of the logits line [C, W] over C, times unit and cut to whole numbers, to sums [C, W].

    The line is used up.
    """
    largest, total = largest_of_each_pixel(line), np.zeros(line.shape[1], np.float32)
    bits = np.empty(line.shape[1], np.int32)
    for label in range(line.shape[0]):
        exponentials(line[label], largest, bits)
        total += line[label]
    factor = unit / total
    for label in range(line.shape[0]):
        for pixel in range(factor.size):
            sums[label, pixel] += np.int32(line[label, pixel] * factor[pixel])


@compiled
def largest_of_each_pixel(line: Floats) -> Floats:
    """[W]: the largest of line [C, W]."""
    largest: Floats = line[0].copy()
    for label in range(1, line.shape[0]):
        for pixel in range(largest.size):
            largest[pixel] = max(largest[pixel], line[label, pixel])
    return largest


@compiled
def exponentials(values: Floats, largest: Floats, bits: Counts) -> None:
    """Make values [W] e to the power of (values - largest), within 2e-7; all are at most `largest` [W].

    2^x is 2^whole, which is written into the exponent of a float32, times 2^rest, a polynomial. `bits` [W] is scratch.
    """
    for pixel in range(values.size):
        power = max((values[pixel] - largest[pixel]) * LOG2_E, SMALLEST_EXPONENT)
        whole = np.floor(power + HALF)
        x = power - whole
        bits[pixel] = (np.int32(whole) + BIAS) << MANTISSA_BITS
        values[pixel] = ONE + x * (P1 + x * (P2 + x * (P3 + x * (P4 + x * (P5 + x * P6)))))
    values *= bits.view(np.float32)


@compiled
def decide(sums: Counts, mask: Classes, first: int) -> None:
    """Fill the rows of mask [N, H, W] from `first` on with the first class of the largest of sums [rows, N, C, W]."""
    for row in range(sums.shape[0]):
        for picture in range(sums.shape[1]):
            best, found = sums[row, picture, 0].copy(), mask[picture, first + row]
            found[:] = 0
            for label in range(1, sums.shape[2]):
                values = sums[row, picture, label]
                for pixel in range(best.size):
                    larger = values[pixel] > best[pixel]
                    found[pixel] = np.uint8(label) if larger else found[pixel]
                    best[pixel] = values[pixel] if larger else best[pixel]
