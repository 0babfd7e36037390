"""SBD (Hariharan et al., ICCV 2011) added to VOC 2012: masks for pictures that have none, and the list `train_aug`."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from mbseg.data.archives import Progress, silent
from mbseg.data.labels import voc_palette
from mbseg.data.samples import UInt8Array
from mbseg.errors import DataError
from mbseg.files import write_atomically

LISTS = Path("ImageSets", "Segmentation")


def add_sbd(sbd: Path, voc: Path, progress: Progress = silent) -> None:
    """Add what VOC lacks from SBD's folder `dataset` to the VOC folder; the list, written last, says that all is there.

    Files appear whole or not at all, and a second run finishes what a first one began. Raises DataError.
    """
    names = train_aug_names(sbd, voc)
    masks = voc / "SegmentationClassAug"
    masks.mkdir(exist_ok=True)
    for number, name in enumerate(names, start=1):
        if not (voc / "SegmentationClass" / f"{name}.png").is_file():
            _place_mask(sbd / "cls" / f"{name}.mat", masks / f"{name}.png")
        if not (picture := voc / "JPEGImages" / f"{name}.jpg").is_file():
            _place_picture(sbd / "img" / f"{name}.jpg", picture)
        progress("adding SBD", number, len(names))
    write_atomically(voc / LISTS / "train_aug.txt", "".join(f"{name}\n" for name in names).encode())


def train_aug_names(sbd: Path, voc: Path) -> list[str]:
    """VOC's train and all of SBD, without VOC's val: 10582 names."""
    names = {name for split in ("train", "val") for name in _names(sbd / f"{split}.txt")}
    names |= set(_names(voc / LISTS / "train.txt"))
    return sorted(names - set(_names(voc / LISTS / "val.txt")))


def _names(file: Path) -> Sequence[str]:
    if not file.is_file():
        raise DataError(f"there is no list {file}")
    return file.read_text(encoding="utf-8").split()


def _place_mask(source: Path, target: Path) -> None:
    mask = Image.fromarray(_segmentation(source), mode="P")
    mask.putpalette(np.array(voc_palette(), np.uint8).tobytes())
    part = target.with_suffix(".part")
    mask.save(part, format="PNG")
    os.replace(part, target)


def _segmentation(file: Path) -> UInt8Array:
    """Class ids [H, W], 0..20. SBD marks no void."""
    try:
        labels = scipy.io.loadmat(file)["GTcls"]["Segmentation"][0, 0]
    except Exception as error:  # scipy has many kinds of errors for damaged files
        raise DataError(f"{file}: cannot be read as a mask of SBD ({error})") from error
    return np.asarray(labels, np.uint8)


def _place_picture(source: Path, target: Path) -> None:
    if not source.is_file():
        raise DataError(f"neither {target} nor {source} is there")
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    os.replace(part, target)
