"""What a run folder says of a finished training."""

import os
from collections.abc import Callable
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


@pytest.mark.parametrize("name", ["last.pt", "metrics.jsonl", "result.json", "best.safetensors"])
def test_a_run_is_never_begun_over_what_another_has_left(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(RunError, match="already; add --resume"):
        RunFolder(tmp_path).refuse_if_taken(resume=False)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["last.pt", "metrics.jsonl", "result.json", "best.safetensors"])
def test_what_is_no_file_is_named(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / name)
    with pytest.raises(RunError, match=f"{name} is no regular file"):
        RunFolder(tmp_path).refuse_if_taken(resume=True)


def test_a_file_in_place_of_the_samples_is_named(tmp_path: Path) -> None:
    RunFolder(tmp_path).samples.touch()
    with pytest.raises(RunError, match="samples is no folder"):
        RunFolder(tmp_path).refuse_if_taken(resume=False)
