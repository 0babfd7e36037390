"""Where the pictures and masks of a data set lie: one function a layout, from a root and a split to pairs of files."""

import shlex
from collections.abc import Callable
from pathlib import Path

from mbseg.data.description import DatasetDescription
from mbseg.data.samples import Pair
from mbseg.errors import DataError
from mbseg.files import is_file, read_bounded

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
LARGEST_LIST = 1 << 28  # bytes: a million lines of `image mask` have 0.1 GB
CITYSCAPES = "_leftImg8bit.png"  # how the names of its pictures end


def find_pairs(description: DatasetDescription, root: Path, split: str) -> list[Pair]:
    """The pairs of one split, every file of them present.

    Raises DataError naming the folder or list that is missing or empty, or the files that a list names in vain.
    """
    pairs = list_pairs(description, root, split)
    for what, files in ("pictures", [pair.image for pair in pairs]), ("masks", [pair.mask for pair in pairs]):
        if missing := [file for file in files if not is_file(file)]:
            raise DataError(f"{len(missing)} of {len(files)} {what} of {split!r} are missing, the first: {missing[0]}")
    return pairs


def list_pairs(description: DatasetDescription, root: Path, split: str) -> list[Pair]:
    """Like `find_pairs`, but the files of the pairs may be missing."""
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder; {description.advice}")
    if description.layout not in LAYOUTS:
        raise DataError(
            f"data set {description.name!r} has boxes, but no masks; set task=detection, "
            f"or name a data.kind of layout {', '.join(LAYOUTS)}"
        )
    pairs = LAYOUTS[description.layout](root, split)
    if not pairs:
        raise DataError(f"split {split!r} in {root} is empty: there is no picture to read")
    return pairs


def voc_pairs(root: Path, split: str) -> list[Pair]:
    """PASCAL VOC: a list of names; masks of SBD (`SegmentationClassAug`) where VOC has none of its own."""
    images = voc_images(root)
    official, augmented = root / "SegmentationClass", root / "SegmentationClassAug"
    masked = {file.stem for file in official.glob("*.png")}
    extra = {file.stem for file in augmented.glob("*.png")} - masked
    return [
        Pair(name, images / f"{name}.jpg", (augmented if name in extra else official) / f"{name}.png")
        for name in listed_names(root / "ImageSets" / "Segmentation", split)
    ]


def voc_images(root: Path) -> Path:
    """VOC's folder of pictures. Raises DataError, with the right root if that lies below, where there is none."""
    if (images := root / "JPEGImages").is_dir():
        return images
    below = next(root.glob("**/JPEGImages"), None)
    hint = f"; set data.root={below.parent}" if below else ""
    raise DataError(f"there is no folder JPEGImages in data.root {root}{hint}")


def listed_names(folder: Path, split: str) -> list[str]:
    """The names in `<folder>/<split>.txt`, one a line; whatever follows the name on its line is left out.

    Raises DataError, naming the lists there are, where this one is missing.
    """
    file = folder / f"{split}.txt"
    if not is_file(file):
        raise DataError(f"there is no list {file}; {_known_lists(folder)}")
    return [line.split()[0] for line in _text(file).splitlines() if line.strip()]


def _known_lists(folder: Path) -> str:
    lists = sorted(file.stem for file in folder.glob("*.txt"))
    return f"the lists there are {', '.join(lists)}" if lists else f"{folder} holds no lists"


def camvid_pairs(root: Path, split: str) -> list[Pair]:
    """CamVid as SegNet has it: pictures in `<split>`, masks in `<split>annot`."""
    return _pairs_of_folders(root / split, root / f"{split}annot")


def cityscapes_pairs(root: Path, split: str) -> list[Pair]:
    """Cityscapes: `leftImg8bit/<split>/<city>/NAME_leftImg8bit.png` and `gtFine/.../NAME_gtFine_labelIds.png`."""
    images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
    if split == "test":
        raise DataError("the masks of Cityscapes' test split are not published; its splits are train and val")
    _check_folders(images, masks)
    names = [file.relative_to(images).as_posix().removesuffix(CITYSCAPES) for file in images.glob(f"*/*{CITYSCAPES}")]
    return [
        Pair(Path(name).name, images / f"{name}{CITYSCAPES}", masks / f"{name}_gtFine_labelIds.png")
        for name in sorted(names)
    ]


def folder_pairs(root: Path, split: str) -> list[Pair]:
    """Pictures in `<split>/images`, masks in `<split>/masks`."""
    return _pairs_of_folders(root / split / "images", root / split / "masks")


def _pairs_of_folders(images: Path, masks: Path) -> list[Pair]:
    """A pair for each picture, with the mask of the same stem."""
    _check_folders(images, masks)
    files = sorted(file for file in images.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    return [Pair(file.stem, file, masks / f"{file.stem}.png") for file in files]


def _check_folders(*folders: Path) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}")


def list_file_pairs(root: Path, split: str) -> list[Pair]:
    """A text file with `image mask` a line, paths relative to its own folder or else to the root.

    A path that holds blanks stands in quotes; `#` starts a comment.
    """
    file = _list_file(root, split)
    pairs = []
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if words := _words(file, number, line):
            image, mask = (_relative_to(file.parent, root, word) for word in words)
            pairs.append(Pair(Path(words[0]).with_suffix("").as_posix(), image, mask))
    return pairs


def _list_file(root: Path, split: str) -> Path:
    for file in root / split, root / f"{split}.txt":
        if is_file(file):
            return file
    raise DataError(f"there is no list {root / split} or {root / split}.txt; {_known_lists(root)}")


def _words(file: Path, number: int, line: str) -> list[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise DataError(f"{file}, line {number}: {error}") from error
    if words and not all(Path(word).name for word in words):
        raise DataError(f"{file}, line {number}: {words} are not two files")
    if words and len(words) != 2:
        raise DataError(
            f"{file}, line {number}: expected `image mask`, got {len(words)} words (quote a path with blanks)"
        )
    return words


def _relative_to(folder: Path, root: Path, word: str) -> Path:
    return folder / word if is_file(folder / word) else root / word


def _text(file: Path) -> str:
    try:
        return read_bounded(file, LARGEST_LIST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not a text file in UTF-8") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read as a list ({error.strerror})") from error


LAYOUTS: dict[str, Callable[[Path, str], list[Pair]]] = {
    "voc": voc_pairs,
    "camvid": camvid_pairs,
    "cityscapes": cityscapes_pairs,
    "list": list_file_pairs,
    "folder": folder_pairs,
}
