"""Augmentation of a training picture and its mask."""

import os
import random
from typing import Any, NamedTuple

import numpy as np

from mbseg.data.labels import IGNORE_INDEX, Colour
from mbseg.data.samples import Sample, UInt8Array

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for a newer version

import albumentations
import cv2
from albumentations.core.transforms_interface import DualTransform
from albumentations.core.type_definitions import Targets


class SeededTransform:
    """An albumentations pipeline whose every draw follows from the numbers it is called with."""

    def __init__(self, pipeline: albumentations.Compose) -> None:
        self.pipeline = pipeline

    def __call__(self, sample: Sample, numbers: tuple[int, ...]) -> Sample:
        # One generator for all parts: `set_random_seed` would give each the same draws, and flip what it scales up.
        generator = np.random.default_rng(numbers)
        self.pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        changed = self.pipeline(image=sample.image, mask=sample.mask)
        return Sample(sample.name, changed["image"], changed["mask"])


def training_transform(
    crop_size: tuple[int, int],
    *,
    scale: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
    rotate: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    fill: Colour = (124, 116, 104),
) -> SeededTransform:
    """Rotate (degrees, either way), scale and crop, flip, jitter the colours.

    `fill` is the RGB colour around the picture, where the mask is 255. Pictures come out as uint8 of `crop_size`
    (height, width).
    """
    steps: list[albumentations.BasicTransform] = [
        ScaleCrop(crop_size, scale, fill),
        albumentations.HorizontalFlip(p=flip),
    ]
    if rotate:
        steps.insert(0, albumentations.Rotate(rotate, fill=fill, fill_mask=IGNORE_INDEX, p=1))
    if brightness or contrast or saturation or hue:
        steps.append(
            albumentations.ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, p=1)
        )
    return SeededTransform(albumentations.Compose(steps))


class Window(NamedTuple):
    """A rectangle of pixels, which may reach beyond the picture."""

    top: int
    left: int
    height: int
    width: int


class ScaleCrop(DualTransform):  # type: ignore[misc]
    """Scale by a random factor and crop at a random place, in the cheap order: cut first, then resize.

    A crop larger than the scaled picture shows all of it at a random place on the fill colour.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(self, crop_size: tuple[int, int], scale: tuple[float, float], fill: Colour) -> None:
        super().__init__(p=1)
        self.crop_size = crop_size
        self.scale = scale
        self.fill = fill

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        scale = self.random_generator.uniform(*self.scale)
        height, width = (max(1, round(size / scale)) for size in self.crop_size)
        top, left = (self._first(size, cut) for size, cut in zip(params["shape"], (height, width), strict=False))
        return {"window": Window(top, left, height, width)}

    def _first(self, size: int, cut: int) -> int:
        """Where the window begins along one axis: within the picture, or around it if the window is larger."""
        slack = size - cut
        return int(self.random_generator.integers(min(0, slack), max(0, slack), endpoint=True))

    def apply(self, img: UInt8Array, window: Window, **_: Any) -> UInt8Array:
        interpolation = cv2.INTER_AREA if window.height > self.crop_size[0] else cv2.INTER_LINEAR
        return _resized(cut_out(img, window, self.fill), self.crop_size, interpolation)

    def apply_to_mask(self, mask: UInt8Array, window: Window, **_: Any) -> UInt8Array:
        # Plain INTER_NEAREST lies up to half a pixel beside what the picture is resized by.
        return _resized(cut_out(mask, window, (IGNORE_INDEX,)), self.crop_size, cv2.INTER_NEAREST_EXACT)


def cut_out(pixels: UInt8Array, window: Window, fill: tuple[int, ...]) -> UInt8Array:
    """The window of [H, W] or [H, W, C]; what of it lies outside is filled."""
    top, left, height, width = window
    inside = pixels[max(top, 0) : top + height, max(left, 0) : left + width]
    above, before = max(-top, 0), max(-left, 0)
    below, behind = height - above - inside.shape[0], width - before - inside.shape[1]
    if above == below == before == behind == 0:
        return inside
    framed = cv2.copyMakeBorder(inside, above, below, before, behind, cv2.BORDER_CONSTANT, value=fill)
    return np.asarray(framed, np.uint8)


def _resized(pixels: UInt8Array, size: tuple[int, int], interpolation: int) -> UInt8Array:
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=interpolation), np.uint8)
