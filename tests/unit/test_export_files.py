"""Exported files come into their folder whole, and nothing else stays there."""

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import parser

from mbseg.errors import RunError
from mbseg.models.segmentation import ModelCard
from mbseg.runtime.artifact import Artifact
from mbseg.runtime.export_files import OpenVinoFile, unfinished
from mbseg.runtime.openvino_session import core

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
plus (float[n] x) => (float[n] y) <float[1] one = {1}> { y = Add (x, one) }
"""
ARTIFACT = Artifact("segmentation", "fp32", None, ModelCard(("sky",), ((0, 0, 0),), (0, 0, 0), (1, 1, 1), {}, {}))
KILLED = """
import os, sys
from pathlib import Path
from mbseg.runtime.export_files import unfinished
with unfinished(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_export_left_goes_with_the_next_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "k[1].onnx"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    (left,) = tmp_path.iterdir()
    with unfinished(tmp_path / "other.onnx"):
        assert left.is_dir()
    with unfinished(path) as draft:
        assert list(tmp_path.iterdir()) == [draft.parent]
    assert not list(tmp_path.iterdir())


def test_an_export_that_runs_keeps_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "k.onnx"
    with unfinished(path) as first, unfinished(path) as second:
        assert first.parent.is_dir() and second.parent.is_dir()


def test_the_draft_has_the_name_of_the_file(tmp_path: Path) -> None:
    with unfinished(tmp_path / "k.xml") as draft:
        assert draft.name == "k.xml"


def save_on_a_full_disk(path: Path) -> None:
    file = OpenVinoFile(core().read_model(parser.parse_model(GRAPH).SerializeToString()), half=False)
    with unfinished(path) as draft:
        draft.with_suffix(".bin").symlink_to("/dev/full")
        file.save(draft, ARTIFACT)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_one_line_of_openvino_too(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*k\.xml: OpenVINO could not"):
        save_on_a_full_disk(tmp_path / "k.xml")
    assert not list(tmp_path.iterdir())
