"""Archives of drawn files, for the tests that lay data sets out."""

import io
import tarfile
import zipfile
from pathlib import Path

from PIL import Image


def picture(suffix: str) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 6)).save(file, "JPEG" if suffix == "jpg" else "PNG")
    return file.getvalue()


def tarred(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as target:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    return file


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    return file


def left_behind(folder: Path, *expected: str) -> set[str]:
    return {path.name for path in folder.iterdir()} - set(expected)
