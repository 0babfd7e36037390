"""What a command line may name, and what it may not."""

from pathlib import Path

import pytest

from mbseg.errors import ConfigError
from mbseg.targets import read_target


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("small.onnx", "is exported already; name the .safetensors"),
        ("small.xml", "is exported already"),
        ("small.ONNX", r"exported files \*\.onnx or \*\.xml"),
        ("small.bin", r"weights are called \*\.safetensors"),
        ("small.pth", "import-weights"),
    ],
)
def test_a_file_that_is_no_target_is_refused_by_its_kind(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match=words) as caught:
        read_target(str(path), [], weights=None, run=tmp_path)
    assert "\n" not in str(caught.value)
