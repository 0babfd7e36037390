"""Augmentation for SSD (Liu et al., arXiv:1512.02325, sections 2.2 and 3.6): zoom out, crop, flip, colours."""

import random
from dataclasses import replace
from typing import Any

import numpy as np

from mbseg.data.detection_resize import resize, resize_mask
from mbseg.data.detection_samples import DetectionSample, Doubles, Flags, Size
from mbseg.data.labels import IGNORE_INDEX, Colour
from mbseg.data.overlap import iou
from mbseg.data.samples import UInt8Array
from mbseg.data.transforms import Window, cut_out  # before albumentations: it keeps its import from the network

import albumentations  # isort: skip
from albumentations.core.transforms_interface import DualTransform
from albumentations.core.type_definitions import Targets

OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)  # least IoU of a crop with one of the objects in it
ANY = 0.0  # a crop with some object in it
WHOLE = 1.0  # no crop
ATTEMPTS = 50  # to find a crop
SMALLEST_CROP = 0.3  # of the picture's sides
ASPECT = (0.5, 2.0)  # of a crop's sides, in units of the picture's


class SeededDetectionTransform:
    """An albumentations pipeline whose every draw follows from the numbers it is called with."""

    def __init__(self, steps: list[albumentations.BasicTransform]) -> None:
        # Boxes that are thinner than a pixel after the last step are dropped with their labels.
        boxes = albumentations.BboxParams("pascal_voc", label_fields=["kept"], min_width=1, min_height=1, clip=True)
        self.pipeline = albumentations.Compose(steps, bbox_params=boxes)

    def __call__(self, sample: DetectionSample, numbers: tuple[int, ...]) -> DetectionSample:
        generator = np.random.default_rng(numbers)
        self.pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        changed = self.pipeline(image=sample.image, bboxes=sample.boxes, kept=np.arange(len(sample.boxes)))
        kept = np.asarray(changed["kept"], np.int64)
        return replace(
            sample,
            image=changed["image"],
            boxes=np.asarray(changed["bboxes"], np.float32).reshape(-1, 4),
            labels=sample.labels[kept],
        )


def detection_transform(
    size: Size,
    *,
    zoom_out: float = 4.0,
    crop: bool = True,
    flip: float = 0.5,
    brightness: float = 0.125,
    contrast: float = 0.5,
    saturation: float = 0.5,
    hue: float = 0.05,
    fill: Colour = (124, 116, 104),
) -> SeededDetectionTransform:
    """Zoom out, crop, resize to `size` (height, width) whatever the picture's shape, flip, jitter the colours.

    A half of the pictures is zoomed out, onto `fill` of up to `zoom_out` times their sides (1: none), and each kind
    of jitter changes a half of them, as in SSD.
    """
    jitters = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    return SeededDetectionTransform(
        [
            ZoomCrop(size, zoom_out, crop, fill),
            albumentations.HorizontalFlip(p=flip),
            *(_jitter(kind, strength) for kind, strength in jitters.items() if strength),
        ]
    )


def _jitter(kind: str, strength: float) -> albumentations.ColorJitter:
    strengths = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {kind: strength}
    return albumentations.ColorJitter(**strengths, p=0.5)


class ZoomCrop(DualTransform):  # type: ignore[misc]
    """Zoom out, crop and resize in one step: only what is seen in the end is ever enlarged or copied.

    Boxes whose centre lies in the crop stay, cut at its edges.
    """

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    def __init__(self, size: Size, zoom_out: float, crop: bool, fill: Colour) -> None:
        super().__init__(p=1)
        self.size = size
        self.zoom_out = zoom_out
        self.crop = crop
        self.fill = fill

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        window = Window(0, 0, height, width)
        if self.zoom_out > 1 and self.random_generator.random() < 0.5:
            window = self._zoomed_out(window)
        boxes = np.asarray(data["bboxes"], np.float64)[:, :4] * (width, height, width, height)
        if self.crop and len(boxes):
            window = self._cropped(window, boxes)
        return {"window": window}

    def _zoomed_out(self, picture: Window) -> Window:
        """A window around the picture, which lies anywhere in it."""
        ratio = self.random_generator.uniform(1, self.zoom_out)
        height, width = round(picture.height * ratio), round(picture.width * ratio)
        top = -int(self.random_generator.integers(height - picture.height, endpoint=True))
        left = -int(self.random_generator.integers(width - picture.width, endpoint=True))
        return Window(top, left, height, width)

    def _cropped(self, window: Window, boxes: Doubles) -> Window:
        """A part of the window that overlaps an object at least as much as is drawn, in the end perhaps all of it."""
        crops = self._random_parts(window)
        sides = (crops[:, 2:] - crops[:, :2]) / (window.width, window.height)
        shapely = _between(sides[:, 1] / sides[:, 0], *ASPECT)
        overlaps = np.where(holds_centre(crops, boxes), iou(crops, boxes), -1).max(axis=1)
        options = self.random_generator.permutation((WHOLE, ANY, *OVERLAPS)).tolist()
        for least in options[: options.index(WHOLE)]:
            if len(fit := np.flatnonzero(shapely & (overlaps >= least))):
                left, top, right, bottom = (int(edge) for edge in crops[fit[0]])
                return Window(top, left, bottom - top, right - left)
        return window

    def _random_parts(self, window: Window) -> Doubles:
        """ATTEMPTS rectangles [n, 4] xyxy of whole pixels within the window, none of them empty."""
        start, whole = np.array([(window.left, window.top), (window.width, window.height)])
        sides = np.ceil(whole * self.random_generator.uniform(SMALLEST_CROP, 1, (ATTEMPTS, 2)))
        corner = start + np.floor((whole - sides) * self.random_generator.random((ATTEMPTS, 2)))
        return np.concatenate([corner, corner + sides], axis=1)

    def apply(self, img: UInt8Array, window: Window, **_: Any) -> UInt8Array:
        return resize(cut_out(img, window, self.fill), self.size)

    def apply_to_mask(self, mask: UInt8Array, window: Window, **_: Any) -> UInt8Array:
        return resize_mask(cut_out(mask, window, (IGNORE_INDEX,)), self.size)

    def apply_to_bboxes(self, bboxes: Doubles, window: Window, shape: tuple[int, ...], **_: Any) -> Doubles:
        """`bboxes` are fractions of the picture's sides, with further columns that are kept."""
        height, width = shape[:2]
        boxes = bboxes[:, :4] * (width, height, width, height) - np.tile((window.left, window.top), 2)
        inside = np.clip(boxes / np.tile((window.width, window.height), 2), 0, 1)
        whole = np.array([[0, 0, window.width, window.height]])
        return np.asarray(np.concatenate([inside, bboxes[:, 4:]], axis=1)[holds_centre(whole, boxes)[0]])


def holds_centre(crops: Doubles, boxes: Doubles) -> Flags:
    """Whether the centre of each box lies in each crop: [crops, boxes]; both are xyxy."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.asarray(((crops[:, None, :2] < centres) & (centres < crops[:, None, 2:])).all(axis=2))


def _between(values: Doubles, low: float, high: float) -> Flags:
    return (low <= values) & (values <= high)
