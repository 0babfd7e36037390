"""The compiled part of `class_map`. Imports numba, so it is imported on first use.

A *cell* is the rectangle of pixels between four neighbouring logits, a *band* the row of cells between two rows of
logits. Inside a cell every class is a convex combination of its four corners, so

- a class that wins all four corners wins the whole cell, and
- any other class can win somewhere only if its largest corner reaches the largest, over the classes, of their smallest
  corner: below that some class lies above it everywhere.

Both rules only compare logits; what is interpolated is what torch would interpolate, so the classes are the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Classes = NDArray[np.uint8]
Function = TypeVar("Function", bound=Callable[..., Any])

ONE = np.float32(1)
MIXED = -1  # owner of a cell whose corners disagree


class Axis(NamedTuple):
    """Where the pixels of one output axis lie between the logits."""

    start: Integers  # [logits + 1]: the pixels of cell i are start[i] .. start[i + 1]
    before: Integers  # [pixels]: the logit at or before each pixel
    after: Integers  # [pixels]: the next logit; at the edge the same one
    weight: Floats  # [pixels]: of `after`; `before` has the rest


class Scratch(NamedTuple):
    """Working memory of one thread."""

    top: Floats  # [C, W]: the logits above the band, interpolated to the columns of the mask
    bottom: Floats  # [C, W]: those below
    best: Floats  # [W]: the largest value so far of each pixel of a line


def compiled(function: Function) -> Function:
    """Machine code, kept on disk for the next process; without the interpreter's lock, so that threads run at once."""
    return cast(Function, njit(nogil=True, cache=True)(function))


@compiled
def decide(logits: Floats, rows: Axis, columns: Axis, mask: Classes, start: int, stop: int) -> None:
    """Fill the bands start .. stop, counted through all pictures, of mask [N, H, W] from finite logits [N, h, w, C]."""
    height, classes = logits.shape[1], logits.shape[3]
    line = (classes, mask.shape[2])
    scratch = Scratch(np.empty(line, np.float32), np.empty(line, np.float32), np.empty(line[1], np.float32))
    for band in range(start, stop):
        picture, row = divmod(band, height)
        first, end = rows.start[row], rows.start[row + 1]
        if first < end:
            top, bottom = logits[picture, row], logits[picture, min(row + 1, height - 1)]
            decide_band(top, bottom, rows.weight[first:end], columns, mask[picture, first:end], scratch)


@compiled
def decide_band(top: Floats, bottom: Floats, weights: Floats, columns: Axis, mask: Classes, scratch: Scratch) -> None:
    """Fill mask [rows, W] between the logits top and bottom [w, C]; weights [rows] are those of bottom."""
    owners = owners_of_cells(top, bottom)
    undecided = 0  # the first cell of the run of mixed cells that ends before `cell`
    for cell in range(owners.size):
        if owners[cell] != MIXED:
            if undecided < cell:
                decide_run(top, bottom, weights, columns, undecided, cell, mask, scratch)
            mask[:, columns.start[cell] : columns.start[cell + 1]] = owners[cell]
            undecided = cell + 1
    if undecided < owners.size:
        decide_run(top, bottom, weights, columns, undecided, owners.size, mask, scratch)


@compiled
def owners_of_cells(top: Floats, bottom: Floats) -> Integers:
    """[w]: the class that wins all four corners of a cell, else MIXED."""
    above, below = winners(top), winners(bottom)
    owners = np.full(above.size, MIXED)
    for cell in range(owners.size):
        winner, right = above[cell], min(cell + 1, owners.size - 1)
        if winner == below[cell] and winner == above[right] and winner == below[right]:
            owners[cell] = winner
    return owners


@compiled
def winners(logits: Floats) -> Integers:
    """[w]: the first largest class of each of logits [w, C]."""
    found = np.zeros(logits.shape[0], np.int64)
    for place in range(found.size):
        best = logits[place, 0]
        for label in range(1, logits.shape[1]):
            if logits[place, label] > best:
                best, found[place] = logits[place, label], label
    return found


@compiled
def decide_run(
    top: Floats,
    bottom: Floats,
    weights: Floats,
    columns: Axis,
    first: int,
    end: int,
    mask: Classes,
    scratch: Scratch,
) -> None:
    """Fill the neighbouring mixed cells first .. end of a band, from the classes that can win in any of them."""
    rivals = rivals_in_run(top, bottom, first, end)
    begin, stop = columns.start[first], columns.start[end]
    for label in rivals:
        interpolate_line(top[:, label], columns, begin, stop, scratch.top[label])
        interpolate_line(bottom[:, label], columns, begin, stop, scratch.bottom[label])
    for row in range(weights.size):
        decide_line(scratch, rivals, weights[row], begin, stop, mask[row])


@compiled
def rivals_in_run(top: Floats, bottom: Floats, first: int, end: int) -> Integers:
    """The classes, ascending, that can win inside at least one of the cells first .. end."""
    classes = top.shape[1]
    possible = np.zeros(classes, np.bool_)
    for cell in range(first, end):
        right = min(cell + 1, top.shape[0] - 1)
        a, b, c, d = top[cell], top[right], bottom[cell], bottom[right]
        floor = np.float32(-np.inf)
        for label in range(classes):
            floor = max(floor, min(min(a[label], b[label]), min(c[label], d[label])))
        for label in range(classes):
            possible[label] |= max(max(a[label], b[label]), max(c[label], d[label])) >= floor
    return np.flatnonzero(possible)


@compiled
def interpolate_line(logits: Floats, columns: Axis, begin: int, stop: int, line: Floats) -> None:
    """Fill the pixels begin .. stop of line [W] from one class's logits [w]."""
    for pixel in range(begin, stop):
        weight = columns.weight[pixel]
        line[pixel] = logits[columns.before[pixel]] * (ONE - weight) + logits[columns.after[pixel]] * weight


@compiled
def decide_line(scratch: Scratch, rivals: Integers, weight: np.float32, begin: int, stop: int, mask: Classes) -> None:
    """Fill the pixels begin .. stop of mask [W], `weight` of the way from scratch.top down to scratch.bottom.

    Class by class over the whole line and without branches, so that the compiler makes vector instructions of it.
    """
    best, found = scratch.best[begin:stop], mask[begin:stop]
    best[:] = -np.inf
    for rival in rivals:
        label = np.uint8(rival)
        top, bottom = scratch.top[rival, begin:stop], scratch.bottom[rival, begin:stop]
        for pixel in range(best.size):
            value = top[pixel] * (ONE - weight) + bottom[pixel] * weight
            larger = value > best[pixel]  # strictly: of equals the first class stays, as in arg-max
            found[pixel] = label if larger else found[pixel]
            best[pixel] = value if larger else best[pixel]
