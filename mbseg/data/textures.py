"""Patterns and colours of the drawn scenes: a pattern is a [H, W] float32 field in [0, 1] that mixes two colours."""

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Pattern = Callable[[np.random.Generator, tuple[int, int]], FloatArray]


def ramp(size: tuple[int, int], angle: float) -> FloatArray:
    """How far each pixel lies along a direction: [H, W], 0 in the middle, in units of the picture's longer side."""
    height, width = size
    rows = (np.arange(height, dtype=np.float32) - height / 2) / max(size)
    columns = (np.arange(width, dtype=np.float32) - width / 2) / max(size)
    return np.add.outer(np.float32(np.sin(angle)) * rows, np.float32(np.cos(angle)) * columns)


def gradient(rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    return (0.5 + ramp(size, rng.uniform(0, 2 * np.pi))).clip(0, 1)


def stripes(rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    return _soft_edges(_wave(size, rng.uniform(0, np.pi), rng.uniform(0.07, 0.25)))


def checks(rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.1, 0.3)
    return _soft_edges(_wave(size, angle, period) * _wave(size, angle + np.pi / 2, period))


def dots(rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.08, 0.2)
    return _soft_edges(_wave(size, angle, period) + _wave(size, angle + np.pi / 2, period) - 1)


def blobs(rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    cells = int(rng.integers(4, 20))
    noise = rng.random((cells, cells), dtype=np.float32)
    smooth: FloatArray = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    return smooth.clip(0, 1)


PATTERNS: tuple[Pattern, ...] = (gradient, stripes, checks, dots, blobs)


def texture(rng: np.random.Generator, size: tuple[int, int], first: FloatArray, second: FloatArray) -> FloatArray:
    """A random pattern that mixes two RGB colours [3]: planes [3, H, W], several times faster to mix than [H, W, 3]."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))](rng, size)
    return first[:, None, None] + pattern * (second - first)[:, None, None]


def rgb(hue: float, saturation: float, value: float) -> FloatArray:
    """The colour [3] in 0..255; hue in degrees."""
    return np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value), np.float32) * 255


def _wave(size: tuple[int, int], angle: float, period: float) -> FloatArray:
    wave: FloatArray = np.sin(ramp(size, angle) * np.float32(2 * np.pi / period))
    return wave


def _soft_edges(wave: FloatArray) -> FloatArray:
    return (0.5 + 2 * wave).clip(0, 1)
