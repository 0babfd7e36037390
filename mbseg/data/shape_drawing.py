"""Draws one scene of the shapes set: textured forms on a textured ground, with their masks and visible boxes.

Objects are placed from the nearest to the farthest, so that each knows what is left for it, and painted the other way.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mbseg.data.labels import IGNORE_INDEX
from mbseg.data.samples import UInt8Array
from mbseg.data.shape_classes import NEUTRAL_HUE, SHAPES, ShapeClass
from mbseg.data.textures import FloatArray, ramp, rgb, texture

SUBPIXEL_BITS = 4  # OpenCV takes outlines in sixteenths of a pixel
NEIGHBOURS = np.ones((3, 3), np.uint8)

FEWEST_OBJECTS, MOST_OBJECTS = 2, 5
ATTEMPTS = 30  # to place them
SMALLEST_RADIUS, LARGEST_RADIUS = 0.16, 0.45  # of the picture's shorter side
LEAST_VISIBLE = 0.45  # of an object's pixels inside the picture
OWN_HUE_SHARE = 0.9  # of the objects; the others are green, which tells nothing, and known by their form alone
HUE_SPREAD = 9.0  # standard deviation, degrees


class Placed(NamedTuple):
    """An object in its place, and what the annotation says of it."""

    shape: ShapeClass
    coverage: UInt8Array  # [H, W] 0..255, as if nothing lay before it
    box: tuple[int, int, int, int]  # of its labelled pixels: xyxy, 0-based, inclusive
    truncated: bool
    occluded: bool


@dataclass(frozen=True)
class Scene:
    """A drawn picture; objects[k] is labelled k + 1 in `instances`, the nearest comes first."""

    image: UInt8Array  # [H, W, 3] RGB
    mask: UInt8Array  # [H, W] class ids, 0 background, 255 border
    instances: UInt8Array  # [H, W] object numbers, 0 background, 255 border
    objects: list[Placed]


def draw_scene(rng: np.random.Generator, size: tuple[int, int], first: ShapeClass) -> Scene:
    """A scene of `size` (height, width) whose nearest object is of class `first`."""
    objects, instances = place_objects(rng, size, first)
    planes = draw_ground(rng, size)
    for item in reversed(objects):
        opacity = item.coverage * np.float32(1 / 255)
        planes += opacity * (object_texture(rng, size, item.shape) - planes)
    return Scene(photograph(rng, planes), class_mask(objects, instances), instances, objects)


def place_objects(
    rng: np.random.Generator, size: tuple[int, int], first: ShapeClass
) -> tuple[list[Placed], UInt8Array]:
    """Objects from the nearest to the farthest, none of them nearly hidden, and their instance map."""
    wanted = rng.integers(FEWEST_OBJECTS, MOST_OBJECTS + 1)
    objects: list[Placed] = []
    instances = np.zeros(size, np.uint8)
    for _ in range(ATTEMPTS):
        shape = SHAPES[rng.integers(len(SHAPES))] if objects else first
        contours = pose(rng, size, shape)
        coverage = rasterize(contours, size)
        solid = coverage >= 128
        visible = solid & (instances == 0)
        if visible.sum() < LEAST_VISIBLE * solid.sum():
            continue
        around = cv2.dilate(solid.view(np.uint8), NEIGHBOURS).astype(bool)
        instances[around & (instances == 0)] = IGNORE_INDEX  # the pixels just outside an object are nobody's, as in VOC
        instances[visible] = len(objects) + 1
        occluded = bool((visible != solid).any())
        objects.append(Placed(shape, coverage, extent(visible), leaves_picture(contours, size), occluded))
        if len(objects) == wanted:
            break
    return objects, instances


def pose(rng: np.random.Generator, size: tuple[int, int], shape: ShapeClass) -> list[NDArray[np.float64]]:
    """The contours of a shape in pixels: turned, stretched a little, of any size, centred anywhere."""
    height, width = size
    radius = min(size) * np.exp(rng.uniform(np.log(SMALLEST_RADIUS), np.log(LARGEST_RADIUS)))
    turn, stretch = rng.uniform(0, 2 * np.pi), np.diag([1.0, rng.uniform(0.75, 1.0)])
    rotation = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    centre = rng.uniform(0.05, 0.95, 2) * (width, height)
    return [centre + radius * contour @ stretch @ rotation for contour in shape.contours]


def rasterize(contours: list[NDArray[np.float64]], size: tuple[int, int]) -> UInt8Array:
    """How much of each pixel the contours cover: [H, W] in 0..255; a contour inside another is a hole."""
    coverage = np.zeros(size, np.uint8)
    points = [np.round(contour * 2**SUBPIXEL_BITS).astype(np.int32) for contour in contours]
    cv2.fillPoly(coverage, points, 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return coverage


def extent(visible: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The box of the true pixels: xyxy, 0-based, inclusive."""
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def leaves_picture(contours: list[NDArray[np.float64]], size: tuple[int, int]) -> bool:
    height, width = size
    outline = contours[0]
    return bool((outline < -0.5).any() or (outline > (width - 0.5, height - 0.5)).any())


def class_mask(objects: list[Placed], instances: UInt8Array) -> UInt8Array:
    """Class ids [H, W] in place of the object numbers."""
    labels = np.arange(256, dtype=np.uint8)
    labels[1 : len(objects) + 1] = [SHAPES.index(item.shape) + 1 for item in objects]
    return labels[instances]


def draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    """The background [3, H, W]: a texture of two muted colours, with lines and specks that are no objects."""
    first, second = (rgb(rng.uniform(0, 360), rng.uniform(0.05, 0.35), rng.uniform(0.3, 0.95)) for _ in range(2))
    image = interleave(texture(rng, size, first, second))
    for _ in range(rng.integers(1, 6)):
        start, end = rng.uniform(-0.1, 1.1, (2, 2)) * size[::-1]
        cv2.line(image, start.astype(int), end.astype(int), vivid(rng).tolist(), int(rng.integers(1, 3)), cv2.LINE_AA)
    for _ in range(rng.integers(2, 12)):
        centre, radii = rng.uniform(0, 1, 2) * size[::-1], rng.uniform(0.01, 0.035, 2) * min(size)
        cv2.ellipse(image, (centre, 2 * radii, rng.uniform(0, 180)), vivid(rng).tolist(), -1, cv2.LINE_AA)
    return np.moveaxis(image, 2, 0).astype(np.float32, order="C")


def object_texture(rng: np.random.Generator, size: tuple[int, int], shape: ShapeClass) -> FloatArray:
    """Two shades [3, H, W] of one hue, mostly the class's own."""
    hue = rng.normal(shape.hue if rng.random() < OWN_HUE_SHARE else NEUTRAL_HUE, HUE_SPREAD)
    bright = rgb(hue, rng.uniform(0.6, 0.95), rng.uniform(0.75, 1))
    return texture(rng, size, bright, bright * np.float32(rng.uniform(0.5, 0.9)))


def vivid(rng: np.random.Generator) -> FloatArray:
    return rgb(rng.uniform(0, 360), rng.uniform(0.3, 0.9), rng.uniform(0.3, 1))


def photograph(rng: np.random.Generator, planes: FloatArray) -> UInt8Array:
    """The scene as a camera sees it: uneven light, a little blur, grain."""
    size = planes.shape[1:]
    light = rng.uniform(0.75, 1.15) + rng.uniform(0, 0.5) * ramp(size, rng.uniform(0, 2 * np.pi))
    sigma = rng.uniform(0.3, 0.8)
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in planes * light])
    grain = rng.uniform(1, 8) * rng.standard_normal(size, np.float32)
    return interleave(blurred + grain)


def interleave(planes: FloatArray) -> UInt8Array:
    """[3, H, W] to a picture [H, W, 3]."""
    return np.ascontiguousarray(np.moveaxis(np.clip(planes, 0, 255).astype(np.uint8), 0, 2))
