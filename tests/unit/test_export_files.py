"""Exported files come into their folder whole, and nothing else stays there."""

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
