"""What a run folder says of a finished training."""

from pathlib import Path

import pytest

from mbseg.engine.run_folder import RunFolder
from mbseg.errors import RunError


@pytest.mark.parametrize("score", ["miou", "ap"])
def test_a_finished_run_of_either_task_gives_its_result(tmp_path: Path, score: str) -> None:
    result = {score: 0.5, "step": 3, "weights": "best.safetensors"}
    RunFolder(tmp_path).write_result(result)
    assert RunFolder(tmp_path).read_result() == result


def test_a_run_without_a_result_has_none(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).read_result() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"miou": 0.5}', "\x00\xff"])
def test_a_damaged_result_is_named(tmp_path: Path, text: str) -> None:
    RunFolder(tmp_path).result.write_text(text)
    with pytest.raises(RunError, match="is damaged; remove it"):
        RunFolder(tmp_path).read_result()
