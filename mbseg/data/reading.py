"""Pictures and masks from files, or one DataError that names the file and what is wrong with it.

EXIF orientation is ignored: masks are drawn on the pixels as they are stored.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mbseg.data.labels import LabelMap, Palette, class_ids, labels_of_colours
from mbseg.data.samples import Pair, Sample, UInt8Array
from mbseg.errors import DataError

INDEX_MODES = ("1", "L", "P", "I;16", "I")  # PIL's modes with one integer a pixel
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # more than eight bits a channel


def read_sample(pair: Pair, label_map: LabelMap) -> Sample:
    """Read both files of a pair. Raises DataError if one cannot be used or their sizes differ."""
    image = read_image(pair.image)
    mask = read_mask(pair.mask, label_map)
    if mask.shape != image.shape[:2]:
        raise DataError(f"{pair.mask}: the mask is {size_text(mask)}, its picture {pair.image} is {size_text(image)}")
    return Sample(pair.name, image, mask)


def size_text(pixels: UInt8Array) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]} (height x width)"


def read_image(file: Path) -> UInt8Array:
    """Read a picture as RGB [H, W, 3]; grey, palette and CMYK are converted, an alpha channel is dropped.

    Raises DataError if it is missing, damaged, too large, or has more than eight bits a channel.
    """
    with _opened(file) as picture:
        if picture.mode in DEEP_MODES:
            raise DataError(f"it has more than 8 bits a channel (mode {picture.mode}); save it as 8-bit RGB or grey")
        pixels = _pixels(picture, file)
        return pixels if picture.mode == "RGB" else np.array(_rgb(picture))


def read_mask(file: Path, label_map: LabelMap) -> UInt8Array:
    """Read a mask as class ids [H, W], ignored pixels as 255.

    Indices are taken as they are stored; RGB is mapped where the palette has all its colours. Raises DataError.
    """
    with _opened(file) as picture:
        if picture.format == "JPEG":
            raise DataError("a JPEG does not keep labels; save masks as PNG")
        pixels = _pixels(picture, file)
        labels = pixels if picture.mode in INDEX_MODES else _labels(pixels, picture.mode, label_map.palette)
        return class_ids(labels, label_map)


def _labels(colours: UInt8Array, mode: str, palette: Palette | None) -> UInt8Array:
    if mode not in ("RGB", "RGBA"):
        raise DataError(f"a mask of mode {mode} has no labels; save class ids as palette or grey PNG")
    if palette is None:
        raise DataError("an RGB mask of no palette; save class ids as palette or grey PNG")
    return labels_of_colours(colours[..., :3], palette)


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """The picture with its header read. What goes wrong with it is raised as a DataError that begins with its name."""
    try:
        with _header(file) as picture:
            yield picture
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no such file") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: this is not a picture") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: more than {Image.MAX_IMAGE_PIXELS} pixels; cut it into smaller pictures") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _header(file: Path) -> Image.Image:
    """Open a picture without decoding it; PIL only warns of a small file that holds a giant picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file)


def _pixels(picture: Image.Image, file: Path) -> NDArray[Any]:
    pixels = np.array(picture)
    if picture.format == "PNG" and not pixels[-1].any() and _png_ends_early(file.read_bytes()):
        raise DataError("cannot be read (the file ends before the picture does)")
    return pixels


def _rgb(picture: Image.Image) -> Image.Image:
    transparent_palette = picture.mode == "P" and "transparency" in picture.info
    return (picture.convert("RGBA") if transparent_palette else picture).convert("RGB")


def _png_ends_early(data: bytes) -> bool:
    """Whether a PNG lacks rows, which PIL leaves zero without a word."""
    width, height, bits, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced:
        return False
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    expected: int = height * (1 + (width * channels * bits + 7) // 8)
    rows = zlib.decompressobj().decompress(b"".join(_png_data(data)), expected)
    return len(rows) < expected


def _png_data(data: bytes) -> Iterator[bytes]:
    """The contents of the IDAT chunks."""
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            yield data[position + 8 : position + 8 + length]
        position += 12 + length
