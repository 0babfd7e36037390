"""The drawn data set: scenes of textured shapes in the layout of PASCAL VOC, for trying things with no download."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from mbseg.data.labels import voc_palette
from mbseg.data.samples import UInt8Array
from mbseg.data.shape_classes import SHAPES
from mbseg.data.shape_drawing import Placed, Scene, draw_scene
from mbseg.errors import DataError
from mbseg.files import unfinished_folder

SPLITS = ("train", "val")  # a split's number is part of the seed of its pictures
JPEG_QUALITY = 92
PALETTE = np.array(voc_palette(), np.uint8).tobytes()


def draw_shapes(
    root: Path, *, train: int = 1200, val: int = 200, size: tuple[int, int] = (128, 128), seed: int = 0
) -> dict[str, int]:
    """Draws the set into the new folder `root`; returns the number of pictures of each split.

    A picture depends on (seed, split, index) alone. `root` appears when all is written. Raises DataError if it exists.
    """
    if root.exists():
        raise DataError(f"{root} exists already; use it as it is, or delete it to draw the shapes again")
    counts = {"train": train, "val": val}
    root.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(root) as unfinished:
        folder = unfinished / root.name
        write_lists(folder, {split: [picture_name(split, index) for index in range(counts[split])] for split in SPLITS})
        for split in SPLITS:
            for index in range(counts[split]):
                write_scene(folder, picture_name(split, index), shapes_scene(seed, split, index, size), root.name)
        folder.rename(root)
    return counts


def shapes_scene(seed: int, split: str, index: int, size: tuple[int, int]) -> Scene:
    """One picture of the set; the nearest objects take the classes in turn, so that a split of six has them all."""
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    return draw_scene(rng, size, first=SHAPES[index % len(SHAPES)])


def picture_name(split: str, index: int) -> str:
    return f"{split}_{index:06d}"


def write_lists(folder: Path, names: dict[str, list[str]]) -> None:
    """ImageSets: the names of each split and of both together, for segmentation and for detection."""
    lists = {**names, "trainval": [name for split in SPLITS for name in names[split]]}
    for purpose in ("Segmentation", "Main"):
        (folder / "ImageSets" / purpose).mkdir(parents=True)
        for split, listed in lists.items():
            text = "".join(f"{name}\n" for name in listed)
            (folder / "ImageSets" / purpose / f"{split}.txt").write_text(text)


def write_scene(folder: Path, name: str, scene: Scene, set_name: str) -> None:
    """The three files of one picture."""
    picture, mask, annotation = (folder / part for part in ("JPEGImages", "SegmentationClass", "Annotations"))
    for part in (picture, mask, annotation):
        part.mkdir(exist_ok=True)
    Image.fromarray(scene.image).save(picture / f"{name}.jpg", quality=JPEG_QUALITY)
    palette_image(scene.mask).save(mask / f"{name}.png")
    described = voc_annotation(set_name, f"{name}.jpg", scene.mask.shape, scene.objects)
    (annotation / f"{name}.xml").write_text(ElementTree.tostring(described, "unicode"))


def palette_image(mask: UInt8Array) -> Image.Image:
    """The mask as a picture of mode P: its pixels are class ids, its palette VOC's."""
    image = Image.fromarray(mask)
    image.putpalette(PALETTE)
    return image


def voc_annotation(
    set_name: str, file_name: str, size: tuple[int, ...], objects: Iterable[Placed]
) -> ElementTree.Element:
    """A VOC annotation; its boxes are inclusive and count pixels from 1."""
    root = ElementTree.Element("annotation")
    add_texts(root, {"folder": set_name, "filename": file_name})
    add_texts(ElementTree.SubElement(root, "size"), {"width": size[1], "height": size[0], "depth": 3})
    add_texts(root, {"segmented": 1})
    for item in objects:
        entry = ElementTree.SubElement(root, "object")
        add_texts(entry, {"name": item.shape.name, "pose": "Unspecified"})
        add_texts(entry, {"truncated": int(item.truncated), "occluded": int(item.occluded), "difficult": 0})
        corners = zip(("xmin", "ymin", "xmax", "ymax"), item.box, strict=True)
        add_texts(ElementTree.SubElement(entry, "bndbox"), {name: position + 1 for name, position in corners})
    ElementTree.indent(root, "\t")
    return root


def add_texts(parent: ElementTree.Element, texts: Mapping[str, str | int]) -> None:
    """Add one child a tag, holding its text."""
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)
