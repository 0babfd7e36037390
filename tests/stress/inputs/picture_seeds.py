"""Small pictures, masks, annotations and archives that every reader takes."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from mbseg.data.shapes import palette_image, shapes_scene, voc_annotation

Files = dict[str, bytes]  # by name; the first is the one that is damaged

SCENE = shapes_scene(0, "train", 0, (24, 32))
TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.copy().save(file, form, **options)  # saving leaves notes in a picture that confuse the next format
    return file.getvalue()


def pictures() -> Iterator[Files]:
    """Every format that data sets may have, in the modes that it has."""
    rgb, grey = Image.fromarray(SCENE.image), Image.fromarray(SCENE.image[..., 0])
    turned = Image.Exif()
    turned[0x0112] = 6
    for picture in (rgb, grey, rgb.quantize(16), rgb.convert("RGBA"), grey.convert("1")):
        yield {"picture.png": saved(picture, "PNG")}
    yield {"picture.png": saved(Image.fromarray(SCENE.image[..., 0].astype(np.uint16) * 257), "PNG")}
    yield {"picture.jpg": saved(rgb, "JPEG", exif=turned, icc_profile=bytes(3000))}
    yield {"picture.jpg": saved(rgb.convert("CMYK"), "JPEG")}
    yield {"picture.jpg": saved(rgb, "JPEG", progressive=True, restart_marker_rows=1)}
    yield {"picture.bmp": saved(rgb, "BMP")}
    yield {"picture.bmp": saved(rgb.quantize(16), "BMP")}
    yield {"picture.webp": saved(rgb, "WEBP")}
    yield {"picture.webp": saved(rgb.convert("RGBA"), "WEBP", lossless=True, save_all=True, append_images=[rgb.copy()])}
    for compression in TIFF:
        yield {"picture.tif": saved(rgb, "TIFF", compression=compression)}
    yield {"picture.tif": saved(rgb, "TIFF", save_all=True, append_images=[grey.copy()])}


def masks() -> Iterator[Files]:
    ids, colours = palette_image(SCENE.mask), palette_image(SCENE.mask).convert("RGB")
    for mask in (ids, Image.fromarray(SCENE.mask), colours, Image.fromarray(SCENE.mask.astype(np.uint16))):
        yield {"mask.png": saved(mask, "PNG")}
    yield {"mask.tif": saved(ids, "TIFF", compression="tiff_lzw")}
    yield {"mask.bmp": saved(ids, "BMP")}


def annotations() -> Iterator[Files]:
    for index in range(3):
        scene = shapes_scene(0, "train", index, (96, 128))
        described = voc_annotation("shapes", "picture.jpg", scene.mask.shape, scene.objects)
        yield {"picture.xml": ElementTree.tostring(described)}
    yield {"picture.xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><annotation><object/></annotation>'}


def coco_json() -> Iterator[Files]:
    pictures = [{"id": number, "file_name": f"{number}.jpg", "height": 24, "width": 32} for number in (1, 2, 3)]
    boxes = [
        {"id": number, "image_id": number % 3 + 1, "category_id": 3, "bbox": [1.5, 2, 9, 7], "area": 63, "iscrowd": 0}
        for number in range(4)
    ]
    tree = {
        "images": pictures,
        "annotations": boxes,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    yield {"train.json": json.dumps(tree).encode(), "1.jpg": saved(Image.fromarray(SCENE.image), "JPEG")}
    yield {"train.json": json.dumps({**tree, "info": {"deep": [[1, [2, {"x": None}]]]}}, indent=1).encode()}


def lists() -> Iterator[Files]:
    picture, mask = saved(Image.fromarray(SCENE.image), "PNG"), saved(palette_image(SCENE.mask), "PNG")
    yield {
        "train.txt": b"# mine\n'a b.png' mask.png\nc.png mask.png\n",
        "a b.png": picture,
        "c.png": picture,
        "mask.png": mask,
    }


def voc_lists() -> Iterator[Files]:
    names = b"one\ntwo 1\n"
    beside = {"JPEGImages/one.jpg": b"", "JPEGImages/two.jpg": b""}
    masks = {"SegmentationClass/one.png": b"", "SegmentationClass/two.png": b""}
    yield {"ImageSets/Segmentation/train.txt": names, **beside, **masks}


def archives() -> Iterator[Files]:
    members = {"set/train/one.png": b"picture" * 50, "set/trainannot/one.png": b"mask", "set/list.txt": b"one\n"}
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as target:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                target.addfile(member, io.BytesIO(data))
        yield {"archive.tar": file.getvalue()}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as target:
            for name, data in members.items():
                target.writestr(name, data)
        yield {"archive.zip": file.getvalue()}


def put(folder: Path, files: Files) -> Path:
    """Writes them, and gives the first one's path."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / next(iter(files))
