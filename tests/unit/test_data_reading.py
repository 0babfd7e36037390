"""Pictures and masks from files, sound and damaged."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mbseg.data.labels import LabelMap
from mbseg.data.reading import read_image, read_mask, read_sample
from mbseg.data.samples import Pair
from mbseg.errors import DataError

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 6, 3), np.uint8)
LABELS = np.arange(54, dtype=np.uint8).reshape(9, 6) % 5


def saved(file: Path, pixels, mode: str | None = None, **options) -> Path:
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(file, **options)
    return file


def palette_mask(file: Path, labels=LABELS, bits: int = 8) -> Path:
    mask = Image.fromarray(labels).convert("P")
    mask.putdata(labels.ravel().tolist())
    mask.putpalette([17 * value % 256 for value in range(768)])
    mask.save(file, bits=bits)
    return file


def png(file: Path, width: int, height: int, rows: bytes, colour_type: int = 2, interlaced: int = 0) -> Path:
    """A PNG that is well-formed, but has just the rows it is given."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return file


def test_a_lossless_picture_is_read_as_it_was_written(tmp_path) -> None:
    image = read_image(saved(tmp_path / "a.png", COLOURS))
    assert (image == COLOURS).all()
    assert image.flags.writeable


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("LA", "png"), ("1", "png"), ("RGBA", "png"), ("P", "png"), ("CMYK", "jpg"), ("L", "jpg")],
)
def test_pictures_of_other_modes_become_rgb(mode: str, suffix: str, tmp_path) -> None:
    image = read_image(saved(tmp_path / f"a.{suffix}", COLOURS, mode))
    assert image.shape == (9, 6, 3)
    assert image.dtype == np.uint8


def test_a_palette_picture_with_transparency_is_read_without_a_warning(tmp_path) -> None:
    file = saved(tmp_path / "a.png", COLOURS, "P", transparency=bytes(range(256)))
    assert read_image(file).shape == (9, 6, 3)


def test_a_picture_of_16_bits_is_refused(tmp_path) -> None:
    file = saved(tmp_path / "deep.png", np.full((4, 4), 1000, np.uint16))
    with pytest.raises(DataError, match=r"deep\.png: it has more than 8 bits a channel"):
        read_image(file)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_followed_for_upright_pictures_and_for_no_others(orientation, suffix, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path / f"a.{suffix}", COLOURS, exif=exif)
    with Image.open(file) as picture:
        assert (read_image(file) == np.asarray(picture)).all()
        assert (read_image(file, upright=True) == np.asarray(ImageOps.exif_transpose(picture))).all()


def test_a_damaged_exif_turns_nothing(tmp_path) -> None:
    file = saved(tmp_path / "a.jpg", COLOURS, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(file, upright=True).shape == (9, 6, 3)


@pytest.mark.parametrize(("suffix", "mode"), [("tif", "RGB"), ("png", "RGB"), ("webp", "RGB"), ("gif", "P")])
def test_of_several_pictures_in_a_file_the_first_is_read(suffix: str, mode: str, tmp_path) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), value, np.uint8)).convert(mode) for value in (0, 255))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second])
    assert not read_image(tmp_path / f"a.{suffix}").any()


def test_a_large_picture_is_read_band_by_band_to_the_same_pixels(tmp_path, monkeypatch) -> None:
    file = saved(tmp_path / "a.png", COLOURS, "P", transparency=bytes(range(256)))
    whole = read_image(file), read_mask(file, LabelMap(255))
    monkeypatch.setattr("mbseg.data.reading.BAND", 13)  # two rows
    assert (read_image(file) == whole[0]).all()
    assert (read_mask(file, LabelMap(255)) == whole[1]).all()


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in "pipe.png", "device.png":
        with pytest.raises(DataError, match=rf"{name}: cannot be read \(it is no regular file"):
            read_image(tmp_path / name)


def test_a_link_to_itself_and_a_name_too_long_are_refused(tmp_path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in "loop.png", "x" * 1024:
        with pytest.raises(DataError, match=r"there is no such file|cannot be read"):
            read_image(tmp_path / name)


def test_a_file_name_does_not_break_the_line(tmp_path) -> None:
    (file := tmp_path / "a\n\x1b[31m\udcff.png").write_text("no picture")
    with pytest.raises(DataError, match=r"this is not a picture") as caught:
        read_image(file)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["EPS", "ICO", "PPM", "TGA"])
def test_formats_that_nobody_asks_for_are_not_even_tried(kind: str, tmp_path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png", kind)
    with pytest.raises(DataError, match=r"a\.png: this is not a picture \(JPEG, PNG, "):
        read_image(tmp_path / "a.png")


def test_a_jpeg_with_scans_or_metadata_without_end_is_refused(tmp_path) -> None:
    data = io.BytesIO()
    Image.fromarray(COLOURS).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last_scan = whole[whole.rindex(b"\xff\xda") : -2]
    (tmp_path / "scans.jpg").write_bytes(whole[:-2] + last_scan * 1001 + whole[-2:])
    segment = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0" + bytes(65527)
    (tmp_path / "metadata.jpg").write_bytes(whole[:2] + segment * 257 + whole[2:])
    with pytest.raises(DataError, match=r"scans\.jpg: \d+ scans; save it again"):
        read_image(tmp_path / "scans.jpg")
    with pytest.raises(DataError, match=r"metadata\.jpg: more than 16 MB of metadata"):
        read_image(tmp_path / "metadata.jpg")


@pytest.mark.parametrize("behind", [b"\xff\xda\x00\x02" * (1 << 19), bytes(1 << 20)])
def test_what_a_phone_appends_to_a_jpeg_is_none_of_its_scans(behind: bytes, tmp_path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.jpg", "JPEG", progressive=True)
    expected = read_image(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(behind)
    assert (read_image(tmp_path / "a.jpg") == expected).all()


def test_a_comment_between_the_scans_of_a_jpeg_ends_no_count(tmp_path) -> None:
    data = io.BytesIO()
    Image.fromarray(COLOURS).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last_scan = whole[whole.rindex(b"\xff\xda") : -2]
    comment = b"\xff\xfe\x00\x04\xff\xd9"
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + comment + last_scan * 1001 + whole[-2:])
    with pytest.raises(DataError, match=r"a\.jpg: \d+ scans; save it again"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + comment * 100_000 + whole[-2:])
    with pytest.raises(DataError, match=r"a\.jpg: more than 100000 segments"):
        read_image(tmp_path / "a.jpg")


def test_a_png_of_chunks_without_end_is_refused(tmp_path) -> None:
    whole = png(tmp_path / "a.png", 8, 1, bytes(25)).read_bytes()
    empty = struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd"))
    (tmp_path / "a.png").write_bytes(whole[:33] + empty * 70_000 + whole[33:])
    with pytest.raises(DataError, match=r"a\.png: more chunks, or larger ones, than a picture needs"):
        read_image(tmp_path / "a.png")


def test_a_file_larger_than_any_picture_is_refused_unread(tmp_path) -> None:
    file = saved(tmp_path / "a.tif", COLOURS)
    os.truncate(file, 6 << 30)  # sparse
    with pytest.raises(DataError, match=r"a\.tif: more than 400 MB"):
        read_image(file)


@pytest.mark.parametrize("height", [7, 8])
def test_an_interlaced_png_that_lacks_its_last_pass_is_refused(height: int, tmp_path) -> None:
    passes = [
        (1, 1),
        (1, 1),
        (2, 1),
        (2, 2),
        (4, 2),
        (4, 4),
        (8, height // 2),
    ]  # width and rows of each, Adam7 of 8 x 8
    rows = b"".join((b"\0" + b"\7" * (3 * width)) * count for width, count in passes)
    read_image(png(tmp_path / "whole.png", 8, height, rows, interlaced=1))
    with pytest.raises(DataError, match=r"short\.png: .*ends before the picture does"):
        read_image(png(tmp_path / "short.png", 8, height, rows[: -25 * (height // 2)], interlaced=1))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: there is no such file"):
        read_image(tmp_path / "gone.jpg")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff"])
def test_a_file_that_is_no_picture_is_named(content: bytes, tmp_path) -> None:
    (file := tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.jpg: "):
        read_image(file)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_truncated_picture_is_named(suffix: str, share: float, tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = saved(tmp_path / f"whole.{suffix}", noise).read_bytes()
    (file := tmp_path / f"cut.{suffix}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=rf"cut\.{suffix}: "):
        read_image(file)


def test_a_folder_in_place_of_a_picture_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("colour_type", [0, 2])
def test_a_png_that_lacks_rows_is_refused_though_it_is_well_formed(colour_type: int, tmp_path) -> None:
    row = b"\0" + b"\x07" * (8 * (3 if colour_type == 2 else 1))
    read_mask_or_image = read_image if colour_type == 2 else lambda file: read_mask(file, LabelMap(21))
    read_mask_or_image(png(tmp_path / "whole.png", 8, 10, row * 10, colour_type))
    with pytest.raises(DataError, match=r"short\.png: .*ends before the picture does"):
        read_mask_or_image(png(tmp_path / "short.png", 8, 10, row * 9, colour_type))


def test_a_png_that_is_black_at_the_bottom_is_sound(tmp_path) -> None:
    assert not read_image(saved(tmp_path / "a.png", np.zeros((9, 7, 3), np.uint8))).any()
    for bits in 1, 2, 4, 8:
        assert not read_mask(palette_mask(tmp_path / "a.png", LABELS * 0, bits), LabelMap(1)).any()


def test_a_small_file_with_a_giant_picture_is_refused_before_it_is_decoded(tmp_path) -> None:
    with pytest.raises(DataError, match=r"bomb\.png: more than \d+ pixels"):
        read_image(png(tmp_path / "bomb.png", 14_000, 14_000, b""))
    with pytest.raises(DataError, match=r"bomb\.png: more than \d+ pixels"):
        read_image(png(tmp_path / "bomb.png", 10_000, 10_000, b""))


@pytest.mark.parametrize("bits", [4, 8])
def test_a_palette_mask_is_read_by_its_indices(bits: int, tmp_path) -> None:
    assert (read_mask(palette_mask(tmp_path / "a.png", bits=bits), LabelMap(5)) == LABELS).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_mask_is_read_by_its_values(dtype, tmp_path) -> None:
    assert (read_mask(saved(tmp_path / "a.png", LABELS.astype(dtype)), LabelMap(5)) == LABELS).all()


def test_an_rgb_mask_is_mapped_by_the_palette_and_refused_without(tmp_path) -> None:
    palette = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9))
    file = saved(tmp_path / "a.png", np.array(palette, np.uint8)[LABELS])
    assert (read_mask(file, LabelMap(4, void=(4,), palette=palette)) == np.where(LABELS == 4, 255, LABELS)).all()
    with pytest.raises(DataError, match=r"a\.png: an RGB mask of no palette"):
        read_mask(file, LabelMap(4))
    with pytest.raises(DataError, match=r"a\.png: its colour \[9, 9, 9\] is not in the palette"):
        read_mask(file, LabelMap(4, palette=palette[:4]))


def test_a_label_out_of_range_is_named_with_its_file(tmp_path) -> None:
    with pytest.raises(DataError, match=r"a\.png: label 4 is neither in 0\.\.3 nor 255"):
        read_mask(palette_mask(tmp_path / "a.png"), LabelMap(4))


@pytest.mark.parametrize(("mode", "suffix"), [("LA", "png"), ("L", "jpg"), ("CMYK", "tif")])
def test_a_mask_that_cannot_hold_labels_is_refused(mode: str, suffix: str, tmp_path) -> None:
    with pytest.raises(DataError, match=rf"a\.{suffix}: a .*PNG"):
        read_mask(saved(tmp_path / f"a.{suffix}", COLOURS, mode), LabelMap(5))


def test_a_mask_of_another_size_is_named_with_its_picture(tmp_path) -> None:
    image = saved(tmp_path / "a.png", COLOURS)
    mask = palette_mask(tmp_path / "m.png", LABELS[:8])
    with pytest.raises(DataError, match=r"m\.png: the mask is 8 x 6 .*a\.png is 9 x 6"):
        read_sample(Pair("a", image, mask), LabelMap(5))
