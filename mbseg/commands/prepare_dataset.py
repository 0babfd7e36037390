"""`mbseg prepare-dataset`."""

from dataclasses import asdict
from pathlib import Path

from mbseg.output import AsJson, print_json


def prepare_dataset(
    name: str, /, *, root: Path | None = None, archive: tuple[Path, ...] = (), json: AsJson = False
) -> None:
    """Download a data set, or take it from its archives, and lay it out for training.

    Parameters
    ----------
    name
        voc2012, sbd (adds train_aug to voc2012), voc2007, coco2017, camvid, cityscapes (from --archive only), or
        shapes (drawn here).
    root
        The folder it goes to; the one below datasets/ where the shipped configs look if not given.
    archive
        The file to take it from, instead of a download; given once for each where a data set comes in several.
    """
    from mbseg.data.prepare import prepare
    from mbseg.data.recipes import usual_root
    from mbseg.output import progress_bar

    with progress_bar() as progress:
        prepared = prepare(name, root or usual_root(name), *archive, progress=progress)
    if json:
        print_json({**asdict(prepared), "root": str(prepared.root)})
        return
    print(f"{prepared.root}{' was complete already' if prepared.found else ''}")
    for split, count in prepared.counts.items():
        expected = prepared.expected.get(split, count)
        print(
            f"  {split:<15} {count} pictures{'' if count == expected else f' (the complete data set has {expected})'}"
        )
    for file, sha256 in prepared.sha256.items():
        print(f"  SHA-256 of {file}: {sha256}")
