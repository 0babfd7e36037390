"""The classes of the drawn set. Form and colour both tell them apart: most objects of a class take its own hue.

The hues lie so that swapping red and blue (hue h becomes 240 - h) turns the hue of one class into that of another:
disc and square, triangle and ring, star and cross change places. Some objects of every class are green, which no class
owns and which stays green.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [n, 2] x, y


class ShapeClass(NamedTuple):
    """A class: contours inside a circle of radius 1, the second of them a hole, and its own hue."""

    name: str
    contours: tuple[Points, ...]
    hue: float  # degrees


def polygon(corners: int) -> Points:
    """The corners of a regular polygon."""
    angles = 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def star(points: int, inner_radius: float) -> Points:
    """A star; every second corner lies at `inner_radius`."""
    corners = polygon(2 * points)
    corners[1::2] *= inner_radius
    return corners


def cross(half_width: float) -> Points:
    """A cross of two bars."""
    end, side = 1.0, half_width
    quarter = np.array([(end, -side), (end, side), (side, side)])
    turn = np.array([(0, 1), (-1, 0)])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, turns) for turns in range(4)])


CIRCLE = polygon(48)
SHAPES = (
    ShapeClass("disc", (CIRCLE,), 15),
    ShapeClass("square", (polygon(4),), 225),
    ShapeClass("triangle", (polygon(3),), 65),
    ShapeClass("ring", (CIRCLE, 0.5 * CIRCLE), 175),
    ShapeClass("star", (star(5, inner_radius=0.45),), 325),
    ShapeClass("cross", (cross(half_width=0.32),), 275),
)
NEUTRAL_HUE = 120.0
CLASSES = ("background", *(shape.name for shape in SHAPES))
