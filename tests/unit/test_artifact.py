"""An exported file knows what it is, and whether it is whole."""

import codecs
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import parser

from mbseg.errors import WeightsError
from mbseg.models.segmentation import ModelCard
from mbseg.runtime.artifact import Artifact, read_artifact, sealed_onnx
from mbseg.runtime.export_files import ExportFile, OnnxFile, OpenVinoFile, files_of
from mbseg.runtime.openvino_session import core

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
plus (float[n] x) => (float[n] y) <float[1] one = {1}> { y = Add (x, one) }
"""
CARD = ModelCard(
    ("background", '<cat & "dog">'), ((0, 0, 0), (1, 2, 3)), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), {"a": [1]}, {"miou": 0.5}
)
ARTIFACT = Artifact("segmentation", "fp32", (360, 480), CARD, {"pixels": 0.999})
SUFFIXES = [".onnx", ".xml"]


def made(suffix: str) -> ExportFile:
    model = parser.parse_model(GRAPH)
    if suffix == ".onnx":
        return OnnxFile(model)
    return OpenVinoFile(core().read_model(model.SerializeToString()), half=False)


def saved(folder: Path, suffix: str) -> Path:
    path = folder / f"file{suffix}"
    made(suffix).save(path, ARTIFACT)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    assert read_artifact(saved(tmp_path, suffix)) == ARTIFACT


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_graph_can_be_saved_again_with_other_facts(tmp_path: Path, suffix: str) -> None:
    path, file = tmp_path / f"file{suffix}", made(suffix)
    for artifact in (ARTIFACT, replace(ARTIFACT, size=None, agreement={})):
        file.save(path, artifact)
        assert read_artifact(path) == artifact


def test_other_readers_of_onnx_read_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, ".onnx")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path)
    assert session.run(None, {"x": [1.0, 2.0]})[0].tolist() == [2.0, 3.0]
    assert set(session.get_modelmeta().custom_metadata_map) == {"mbseg", "mbseg_sha256"}


def test_openvino_reads_what_is_sealed(tmp_path: Path) -> None:
    model = core().read_model(saved(tmp_path, ".xml"))
    assert model.has_rt_info(["mbseg", "facts"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_bit_is_noticed_wherever_it_is(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, suffix)
    for file in files_of(path):
        whole = file.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 40)):
            file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            with pytest.raises(WeightsError, match="file"):
                read_artifact(path)
        file.write_bytes(whole)
    assert read_artifact(path) == ARTIFACT


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_short_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, suffix)
    for file in files_of(path):
        whole = file.read_bytes()
        for length in (0, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            with pytest.raises(WeightsError) as caught:
                read_artifact(path)
            assert "\n" not in str(caught.value)
        file.write_bytes(whole)


def test_a_foreign_onnx_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    onnx.save(parser.parse_model(GRAPH), path)
    with pytest.raises(WeightsError, match="was not written by `mbseg export`"):
        read_artifact(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("task", {"task": "foo"}),
        ("precision", {"precision": "fp8"}),
        ("classes", {"card": replace(CARD, classes=(1, 2))}),
        ("palette", {"card": replace(CARD, classes=CARD.classes[:1])}),
        ("palette", {"card": replace(CARD, palette=((0, 0, 0), (1, 2, 999)))}),
        ("config", {"card": replace(CARD, config=None)}),
        ("mean", {"card": replace(CARD, mean=(0.1, 0.2))}),
    ],
)
def test_edited_facts_are_refused_though_sealed_anew(
    tmp_path: Path, suffix: str, name: str, changes: dict[str, Any]
) -> None:
    path = tmp_path / f"file{suffix}"
    made(suffix).save(path, replace(ARTIFACT, **changes))
    with pytest.raises(WeightsError, match=f"the {name} that it names cannot be"):
        read_artifact(path)


@pytest.mark.parametrize("size", [(1, 2, 3), (0, 5), (-1, 5), (10**9, 10**9), 3, "ab", (True, 3), (None, 3)])
def test_a_size_that_no_frame_has_is_refused(tmp_path: Path, size: Any) -> None:
    made(".onnx").save(tmp_path / "file.onnx", replace(ARTIFACT, size=size))
    with pytest.raises(WeightsError, match="what it says of itself cannot be read"):
        read_artifact(tmp_path / "file.onnx")


def test_a_graph_that_refers_to_other_files_is_refused(tmp_path: Path) -> None:
    model = parser.parse_model(GRAPH)
    (tensor,) = model.graph.initializer
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "file.onnx").write_bytes(sealed_onnx(model, ARTIFACT))
    with pytest.raises(WeightsError, match="it refers to other files"):
        read_artifact(tmp_path / "file.onnx")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"file{suffix}")
    with pytest.raises(WeightsError, match="it is no regular file"):
        read_artifact(tmp_path / f"file{suffix}")


def test_a_changed_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = saved(tmp_path, ".onnx")
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])  # no protobuf: a parser would say so
    with pytest.raises(WeightsError, match="does not have the SHA-256"):
        read_artifact(path)


def test_onnx_in_bf16_is_refused_and_openvino_is_not(tmp_path: Path) -> None:
    half = replace(ARTIFACT, precision="bf16")
    for suffix in SUFFIXES:
        made(suffix).save(tmp_path / f"file{suffix}", half)
    assert read_artifact(tmp_path / "file.xml") == half
    with pytest.raises(WeightsError, match="the precision that it names"):
        read_artifact(tmp_path / "file.onnx")


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE net [<!ENTITY a "b">]><net>&a;</net>',
        b'<?xml version="1.0" encoding="foo"?><net/>',
        b'<?xml version="1.0" encoding="utf-32"?><net/>',
        codecs.BOM_UTF16_LE + b"<net/>",
    ],
)
def test_strange_xml_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.xml"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged or cut short") as caught:
        read_artifact(path)
    assert "\n" not in str(caught.value)


def test_an_xml_without_its_bin_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, ".xml")
    path.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"there is no file .*file\.bin"):
        read_artifact(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        read_artifact(tmp_path / "none.onnx")
