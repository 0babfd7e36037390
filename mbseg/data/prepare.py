"""A data set from its archives to the layout that training reads.

Downloaded archives are kept in `downloads` beside the root. They are unpacked in a hidden folder beside it too, and
checked there before it takes the root's place.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mbseg.data.archives import Progress, fetch, silent, unpack, verify
from mbseg.data.description import Archive, DatasetDescription, load_description
from mbseg.data.layouts import find_pairs
from mbseg.data.sbd import add_sbd
from mbseg.data.shapes import draw_shapes
from mbseg.errors import ConfigError, DataError
from mbseg.naming import hint


class Recipe(NamedTuple):
    """How one data set is made."""

    kind: str  # its description: datasets/<kind>.yaml
    folder: str  # its usual place below `datasets`
    splits: tuple[str, ...]  # all there when it is complete
    parts: tuple[str, ...]  # the folders that together tell it when unpacked; none: it is drawn
    archives: tuple[str, ...]  # what it comes in, as its description names them
    added_to: str | None = None  # the data set that it completes in place


RECIPES = {
    "voc2012": Recipe(
        "voc", "voc2012", ("train", "val"), ("JPEGImages", "SegmentationClass", "ImageSets"), ("voc2012",)
    ),
    "sbd": Recipe("voc", "voc2012", ("train_aug",), ("cls", "img"), ("sbd",), added_to="voc2012"),
    "camvid": Recipe("camvid", "camvid", ("train", "val"), ("train", "trainannot", "val", "valannot"), ("camvid",)),
    "cityscapes": Recipe(
        "cityscapes", "cityscapes", ("train", "val"), ("leftImg8bit", "gtFine"), ("leftImg8bit", "gtFine")
    ),
    "shapes": Recipe("shapes", "shapes", ("train", "val"), (), ()),
}


@dataclass(frozen=True)
class Prepared:
    """What `prepare` left, or found, at `root`."""

    root: Path
    counts: dict[str, int]  # pictures with masks in each split
    expected: dict[str, int]  # the same of the complete data set, as far as it is known
    sha256: dict[str, str]  # of the archives read, by file name
    found: bool  # it was complete before


def prepare(name: str, root: Path, *archives: Path, progress: Progress = silent) -> Prepared:
    """Download the data set `name`, or take it from the files `archives`, and lay it out at `root`.

    A complete one is left as it is. Raises ConfigError for an unknown name or a wrong number of archives, and DataError
    if an archive, its contents or the root are unfit; then nothing half-written is left.
    """
    recipe = recipe_named(name)
    description = load_description(recipe.kind)
    expected = {split: description.splits[split] for split in recipe.splits if split in description.splits}
    with suppress(DataError):
        return Prepared(root, _counts(recipe, description, root), expected, {}, found=True)
    _check_root(recipe, root)
    try:
        sha256 = _make(name, root, archives, progress)
    except OSError as error:
        raise DataError(f"{root} cannot be written: {error}") from error
    return Prepared(root, _counts(recipe, description, root), expected, sha256, found=False)


def recipe_named(name: str) -> Recipe:
    """Raises ConfigError for an unknown name."""
    if name not in RECIPES:
        raise ConfigError(f"no data set {name!r} can be prepared; {hint(name, RECIPES)}")
    return RECIPES[name]


def usual_root(name: str) -> Path:
    """Where the shipped configs look for the data set. Raises ConfigError for an unknown name."""
    return Path("datasets", recipe_named(name).folder)


def _counts(recipe: Recipe, description: DatasetDescription, root: Path) -> dict[str, int]:
    """Pictures in each split. Raises DataError if one is incomplete."""
    return {split: len(find_pairs(description, root, split)) for split in recipe.splits}


def _check_root(recipe: Recipe, root: Path) -> None:
    """Before any long work. Raises DataError if the root cannot be used."""
    if recipe.added_to:
        base = RECIPES[recipe.added_to]
        try:
            _counts(base, load_description(base.kind), root)
        except DataError as error:
            raise DataError(f"no {recipe.added_to} to add to ({error}); prepare {recipe.added_to} first") from error
    elif root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise DataError(f"{root} is there, but is not the complete data set; delete it or name another root")


def _make(name: str, root: Path, archives: Sequence[Path], progress: Progress) -> dict[str, str]:
    """Returns the SHA-256 of the archives by their file names, nothing for what is drawn."""
    recipe = RECIPES[name]
    if not recipe.parts:
        _draw(name, root, archives)
        return {}
    description = load_description(recipe.kind)
    known = [description.archives[archive] for archive in recipe.archives]
    files = archives or _downloaded(name, known, root.parent / "downloads", progress)
    _check_archives(name, files, known)
    sha256 = {file.name: verify(file, known, progress) for file in files}
    _lay_out(recipe, description, files, root, progress)
    return sha256


def _downloaded(name: str, known: Sequence[Archive], folder: Path, progress: Progress) -> list[Path]:
    """The archives in `folder`, those that are not there yet fetched. Raises DataError if that cannot be."""
    for archive in known:
        if archive.login and not (folder / archive.file).is_file():
            options = " ".join(f"--archive {part.file}" for part in known)
            raise DataError(f"{name} needs a login at {archive.url}: get the files there, then add {options}")
    return [fetch(archive, folder, progress) for archive in known]


def _check_archives(name: str, files: Sequence[Path], known: Sequence[Archive]) -> None:
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: there is no such file")
    if len({file.resolve() for file in files}) != len(known) or len(files) != len(known):
        names = " and ".join(archive.file for archive in known)
        raise ConfigError(f"{name} comes in {names}; name each once with --archive ({len(files)} given)")


def _lay_out(
    recipe: Recipe, description: DatasetDescription, files: Sequence[Path], root: Path, progress: Progress
) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as unpacked:
        for file in files:
            unpack(file, Path(unpacked), progress)
        origin = " and ".join(str(file) for file in files)
        folder = _folder_with(Path(unpacked), recipe.parts, origin)
        if recipe.added_to:
            add_sbd(folder, root, progress)
        else:
            _check_complete(recipe, description, folder, origin)
            _move(folder, root)


def _folder_with(unpacked: Path, parts: tuple[str, ...], origin: str) -> Path:
    """The topmost folder that holds folders of all these names."""
    for folder in sorted((part.parent for part in unpacked.rglob(parts[0])), key=lambda path: len(path.parts)):
        if all((folder / part).is_dir() for part in parts):
            return folder
    raise DataError(f"{origin}: no folder in it holds {', '.join(parts)}; this is another archive")


def _check_complete(recipe: Recipe, description: DatasetDescription, folder: Path, origin: str) -> None:
    try:
        _counts(recipe, description, folder)
    except DataError as error:
        raise DataError(f"{origin} is not the complete data set: {error}") from error


def _move(folder: Path, root: Path) -> None:
    if root.exists():
        root.rmdir()  # it is empty
    os.rename(folder, root)


def _draw(name: str, root: Path, archives: Sequence[Path]) -> None:
    if archives:
        raise ConfigError(f"{name} is drawn, not unpacked; leave out the archive")
    if root.exists():
        root.rmdir()  # it is empty
    draw_shapes(root)
