"""A data set from its archives to the layout that training reads.

Downloaded archives are kept in `downloads` beside the root. They are unpacked in a hidden folder beside it too, and
checked there before it takes the root's place.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbseg.data.archives import Progress, fetch, silent, verify
from mbseg.data.description import Archive, DatasetDescription, load_description
from mbseg.data.detection_layouts import find_annotations
from mbseg.data.layouts import find_pairs
from mbseg.data.recipes import RECIPES, Recipe, recipe_named
from mbseg.data.sbd import add_sbd
from mbseg.data.shapes import draw_shapes
from mbseg.data.unpacking import unpack
from mbseg.errors import ConfigError, DataError
from mbseg.files import unfinished_folder


@dataclass(frozen=True)
class Prepared:
    """What `prepare` left, or found, at `root`."""

    root: Path
    counts: dict[str, int]  # pictures in each split
    expected: dict[str, int]  # the same of the complete data set, as far as it is known
    sha256: dict[str, str]  # of the archives read, by file name
    found: bool  # it was complete before


def prepare(name: str, root: Path, *archives: Path, progress: Progress = silent) -> Prepared:
    """Download the data set `name`, or take it from the files `archives`, and lay it out at `root`.

    A complete one is left as it is. Raises ConfigError for an unknown name or a wrong number of archives, and DataError
    if an archive, its contents or the root are unfit; then nothing half-written is left.
    """
    recipe = recipe_named(name)
    try:
        return _prepared(recipe, root, {}, found=True)
    except DataError as missing:
        _check_root(recipe, root, missing)
    try:
        sha256 = _make(name, root, archives, progress)
    except OSError as error:
        raise DataError(f"{root} cannot be written: {error}") from error
    return _prepared(recipe, root, sha256, found=False)


def _prepared(recipe: Recipe, root: Path, sha256: dict[str, str], *, found: bool) -> Prepared:
    """Raises DataError if the data set at `root` is not complete."""
    description = load_description(recipe.kind)
    counts = _counts(recipe, description, root)
    expected = {split: description.splits[split] for split in counts if split in description.splits}
    return Prepared(root, counts, expected, sha256, found)


def _counts(recipe: Recipe, description: DatasetDescription, root: Path) -> dict[str, int]:
    """Pictures in each split. Raises DataError if one is incomplete.

    Somebody's VOC 2012 without the folder of boxes is complete for segmentation.
    """
    counts = {split: len(find_pairs(description, root, split)) for split in recipe.masks}
    if counts and not (root / "Annotations").is_dir():
        return counts
    found = {split: find_annotations(description, root, split) for split in recipe.boxes}
    return counts | {recipe.boxes_name(split): len(pictures.annotations) for split, pictures in found.items()}


def _check_root(recipe: Recipe, root: Path, missing: DataError) -> None:
    """Before any long work. Raises DataError if the root, in which something is `missing`, cannot be used."""
    if recipe.added_to:
        base = RECIPES[recipe.added_to]
        try:
            for split in base.masks:
                find_pairs(load_description(base.kind), root, split)
        except DataError as error:
            raise DataError(f"no {recipe.added_to} to add to ({error}); prepare {recipe.added_to} first") from error
    elif root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise DataError(
            f"{root} is there, but is not the complete data set ({missing}); delete it or name another root"
        ) from missing


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
        *others, last = (archive.file for archive in known)
        names = f"{', '.join(others)} and {last}" if others else last
        raise ConfigError(f"{name} comes in {names}; name each once with --archive ({len(files)} given)")


def _lay_out(
    recipe: Recipe, description: DatasetDescription, files: Sequence[Path], root: Path, progress: Progress
) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(root) as unpacked:
        for file in files:
            unpack(file, unpacked, progress)
        origin = " and ".join(str(file) for file in files)
        folder = _folder_with(unpacked, recipe.parts, origin)
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
