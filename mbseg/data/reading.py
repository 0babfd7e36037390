"""Pictures and masks from files, or one DataError that names the file and what is wrong with it.

Pictures of a data set are read as their pixels are stored, whatever their EXIF orientation says: masks and boxes are
drawn on those pixels. Pictures that come alone, to `predict` and `demo`, are read upright, as every viewer shows them,
and so are their class maps and boxes. (The orientation of a TIFF belongs to how it is stored, and is always followed.)
Of a file with several pictures the first is taken.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from mbseg.data import jpeg, png
from mbseg.data.labels import LabelMap, Palette, class_ids, labels_of_colours
from mbseg.data.samples import Pair, Sample, UInt8Array
from mbseg.errors import DataError
from mbseg.files import size_of

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")  # PIL has forty more; for one of them it starts Ghostscript
LARGEST_PICTURE = 89_478_485  # pixels, where PIL begins to warn: a JPEG of so many is decoded in less than 1 GiB
LARGEST_WEBP = 50_000_000  # pixels: its decoder takes twice as much memory
LARGEST_FILE = 400_000_000  # bytes; so large a picture has fewer in any format, even uncompressed with alpha
LOSSY = ("JPEG", "MPO")  # the second is several of the first in one file
BAND = 1 << 22  # pixels that are converted at once
COLOUR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # PIL's that can become RGB
INDEX_MODES = ("1", "L", "P", "I;16", "I;16B", "I")  # those with one integer a pixel
UPRIGHT: dict[int, Callable[[UInt8Array], UInt8Array]] = {  # what undoes each EXIF orientation
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image.swapaxes(0, 1)[:, ::-1],
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: image.swapaxes(0, 1)[::-1],
}


def read_sample(pair: Pair, label_map: LabelMap) -> Sample:
    """Read both files of a pair. Raises DataError if one cannot be used or their sizes differ."""
    image = read_image(pair.image)
    mask = read_mask(pair.mask, label_map)
    if mask.shape != image.shape[:2]:
        raise DataError(f"{pair.mask}: the mask is {size_text(mask)}, its picture {pair.image} is {size_text(image)}")
    return Sample(pair.name, image, mask)


def size_text(pixels: UInt8Array) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]} (height x width)"


def read_image(file: Path, *, upright: bool = False) -> UInt8Array:
    """Read a picture as RGB [H, W, 3]; grey, palette and CMYK are converted, an alpha channel is dropped.

    Raises DataError if it is missing, damaged, too large, or has more than eight bits a channel.
    """
    picture = _decoded(file)
    if picture.mode not in COLOUR_MODES:
        raise DataError(
            f"{file}: it has more than 8 bits a channel or colours of another kind (mode {picture.mode}); "
            "save it as 8-bit RGB or grey"
        )
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    for top, band in _bands(picture):
        image[top : top + band.height] = _rgb(band)
    turn = UPRIGHT.get(_exif_orientation(picture)) if upright else None
    del picture  # as large as the image; turning makes another one
    return np.ascontiguousarray(turn(image)) if turn else image


def read_mask(file: Path, label_map: LabelMap) -> UInt8Array:
    """Read a mask as class ids [H, W], ignored pixels as 255.

    Indices are taken as they are stored; RGB is mapped where the palette has all its colours. Raises DataError.
    """
    picture = _decoded(file)
    if picture.format in LOSSY:
        raise DataError(f"{file}: a JPEG does not keep labels; save masks as PNG")
    mask = np.empty((picture.height, picture.width), np.uint8)
    try:
        for top, band in _bands(picture):
            mask[top : top + band.height] = class_ids(_labels(band, label_map.palette), label_map)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return mask


def _labels(band: Image.Image, palette: Palette | None) -> NDArray[Any]:
    if band.mode in INDEX_MODES:
        return np.asarray(band)
    if band.mode not in ("RGB", "RGBA"):
        raise DataError(f"a mask of mode {band.mode} has no labels; save class ids as palette or grey PNG")
    if palette is None:
        raise DataError("an RGB mask of no palette; save class ids as palette or grey PNG")
    return labels_of_colours(np.asarray(band)[..., :3], palette)


def _rgb(band: Image.Image) -> UInt8Array:
    transparent_palette = band.mode == "P" and "transparency" in band.info
    return np.asarray((band.convert("RGBA") if transparent_palette else band).convert("RGB"))


def _bands(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Rows of a picture, some at a time, and which is their first: what is made of them costs little memory."""
    rows = max(1, BAND // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        yield top, picture.crop((0, top, picture.width, bottom)) if rows < picture.height else picture


def _decoded(file: Path) -> Image.Image:
    """Raises DataError for what is missing, no picture, too large or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are judged here
            return _checked(file)
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no such file") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: this is not a picture ({', '.join(FORMATS)})") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{file}: {_too_large()}") from error
    except Exception as error:  # PIL stumbles over damaged files in every way there is
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise DataError(f"{file}: cannot be read ({reason})") from error


def _checked(file: Path) -> Image.Image:
    """The header is judged before anything is decoded: a small file can hold a giant picture."""
    size = size_of(file)
    if size > LARGEST_FILE:
        raise DataError(f"more than {LARGEST_FILE // 1_000_000} MB; cut it into smaller pictures")
    png.check_chunks(file, size)
    jpeg.check_metadata(file)
    with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as picture:
        if picture.width * picture.height > (LARGEST_WEBP if picture.format == "WEBP" else LARGEST_PICTURE):
            raise DataError(_too_large())
        if picture.format in LOSSY:
            jpeg.check_scans(file, picture.width * picture.height)
        picture.load()
    if picture.format == "PNG" and _may_lack_rows(picture) and png.ends_early(file):
        raise DataError("cannot be read (the file ends before the picture does)")
    return picture


def _too_large() -> str:
    return f"more than {LARGEST_PICTURE} pixels (WebP: {LARGEST_WEBP}); cut it into smaller pictures"


def _may_lack_rows(picture: Image.Image) -> bool:
    """Missing ones are zero."""
    last_row = picture.crop((0, picture.height - 1, picture.width, picture.height))
    return bool(picture.info.get("interlace")) or not np.asarray(last_row).any()


def _exif_orientation(picture: Image.Image) -> int:
    """1 is upright, and so is what has no EXIF or a damaged one."""
    try:
        return int(picture.getexif().get(Base.Orientation, 1))
    except Exception:  # as in `_decoded`
        return 1
