"""Archives that want more than to be unpacked."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from mbseg.data import unpacking
from mbseg.data.unpacking import unpack
from mbseg.errors import DataError
from tests.archives import tarred, zipped


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    """A tar header alone, which may promise what it likes."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, link
    return entry.tobuf(tarfile.GNU_FORMAT)


def refused(file: Path, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        unpack(file, file.parent / "out")
    assert str(caught.value).isprintable()


def test_a_file_through_a_link_is_refused_at_the_link(tmp_path: Path) -> None:
    data = member("a", tarfile.SYMTYPE, link=str(tmp_path)) + member("a/evil", size=4) + b"evil".ljust(512, b"\0")
    (tmp_path / "links.tar").write_bytes(data + bytes(1024))
    refused(tmp_path / "links.tar", "its member 'a' is a link or a device")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_of_gigabytes_is_not_read(kind: bytes, tmp_path: Path) -> None:
    (tmp_path / "names.tar").write_bytes(gzip.compress(member("././@LongLink", kind, 3 << 30) + bytes(4 << 20), 1))
    refused(tmp_path / "names.tar", "take more bytes than any data set's")


def test_a_sparse_file_whose_map_has_no_end_is_not_read(tmp_path: Path) -> None:
    notes = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    head = member("x", tarfile.XHDTYPE, len(notes)) + notes.ljust(512, b"\0") + member("a", size=1 << 24)
    (tmp_path / "map.tar").write_bytes(head + b"99999999\n" + b"1\n" * (1 << 20))
    refused(tmp_path / "map.tar", "take more bytes than any data set's")


def test_an_archive_that_grows_beyond_measure_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", bytes(40 << 20))
    refused(tmp_path / "bomb.zip", "it unpacks to more than")
    (tmp_path / "bomb.tar").write_bytes(gzip.compress(member("zeros", size=1 << 40), 1))
    refused(tmp_path / "bomb.tar", "it unpacks to more than")


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_too_many_empty_members_are_refused(pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_EMPTY", 10)
    refused(pack(tmp_path / "many", {str(number): b"" for number in range(12)}), "more than 10 that are empty")


def test_a_zip_that_lies_about_a_size_unpacks_no_more_than_it_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(file := tmp_path / "lie.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", bytes(9 << 20))
    file.write_bytes(file.read_bytes().replace(struct.pack("<L", 9 << 20), struct.pack("<L", 10)))
    refused(file, "cannot be unpacked")
    assert sum(found.stat().st_size for found in (tmp_path / "out").rglob("*")) <= 1 << 20


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "locked.zip", {"a": b"abc"}).read_bytes())
    data[6] |= 1
    data[data.rfind(b"PK\1\2") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    refused(tmp_path / "locked.zip", "password required")


@pytest.mark.parametrize("pack", [tarred, zipped])
@pytest.mark.parametrize("name", ["a" * 2000, "a/" * 1000 + "b"])
def test_a_name_too_long_to_be_removed_again_is_refused(pack, name: str, tmp_path: Path) -> None:
    refused(pack(tmp_path / "long", {name: b"x"}), r"has a name of \d+ characters")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_however_it_is_compressed(mode: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", mode) as target:  # type: ignore[call-overload]
        for name in "ab":
            entry = tarfile.TarInfo(f"{name}/{name}.txt")
            entry.size = 3
            target.addfile(entry, io.BytesIO(b"one"))
    unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.txt"))] == [b"one", b"one"]
