"""`mbseg predict --shard` and `mbseg merge`: many small predictions that come to one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbseg.cli import main

Weights = Callable[[str], Path]
COUNT = 18


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        patches = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        size = (64 - number % 3, 48 + number % 2)
        Image.fromarray(patches).resize(size, Image.Resampling.NEAREST).save(folder / f"{number}.png")
    return folder


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def merge(*arguments: object) -> int:
    return main(["merge", *map(str, arguments)])


def answers(output: Path) -> dict[str, bytes]:
    """All files but the manifests of shards, whose number is another."""
    return {path.name: path.read_bytes() for path in output.iterdir() if "-of-" not in path.name}


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_sixteen_shards_come_to_the_bytes_of_one_and_of_none(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = untrained("joint")
    assert predict(weights, pictures, tmp_path / "none") == 0
    assert predict(weights, pictures, tmp_path / "one", "--shard", "1/1") == 0
    order = np.random.default_rng(0).permutation(16) + 1
    assert all(predict(weights, pictures, tmp_path / "many", "--shard", f"{number}/16") == 0 for number in order)
    assert merge(tmp_path / "one") == merge(tmp_path / "many") == 0
    assert "18 pictures, all as they were written" in capsys.readouterr().out
    many = answers(tmp_path / "many")
    assert len(many) == 2 * COUNT + 2 and many == answers(tmp_path / "one")
    del many["manifest.jsonl"]
    assert many == answers(tmp_path / "none")
    assert len(json.loads(many["detections.json"])["annotations"]) > COUNT


def test_a_shard_that_is_killed_and_run_again_gives_the_same_bytes(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(untrained("joint")), str(pictures), str(tmp_path / "killed"), "--shard", "1/1"]
    process = subprocess.Popen([sys.executable, "-m", "mbseg", "predict", *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list((tmp_path / "killed").glob("*.json"))) < 5:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not any((tmp_path / "killed").glob("17.*"))
    capsys.readouterr()
    assert predict(*arguments) == 0
    done = int(re.search(r"shard 1/1 is whole: 18 pictures, (\d+) of them done before", capsys.readouterr().err)[1])
    assert 2 <= done < 18
    assert predict(untrained("joint"), pictures, tmp_path / "whole", "threads=1", "--shard", "1/1") == 0
    assert merge(tmp_path / "killed") == merge(tmp_path / "whole") == 0
    assert answers(tmp_path / "killed") == answers(tmp_path / "whole")


def test_shards_that_are_made_in_different_ways_are_refused_naming_how(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, output = untrained("detection"), tmp_path / "out"
    assert predict(weights, pictures, output, "--shard", "1/2") == 0
    before = answers(output)
    capsys.readouterr()
    for arguments, difference in (
        ((untrained("joint"), "--shard", "1/2"), "weights_sha256 "),
        ((weights, "--least-score", "0.3", "--shard", "1/2"), "least_score None, not 0.3"),
        ((weights, "--least-score", "0.3", "--shard", "2/2"), "least_score None, not 0.3"),
        (
            (weights, "--precision", "bf16", "--shard", "2/2"),
            "engine 'torch fp32, 1 threads', not 'torch bf16, 1 threads'",
        ),
        ((weights, "threads=2", "--shard", "2/2"), "engine 'torch fp32, 1 threads', not 'torch fp32, 2 threads'"),
    ):
        first, *others = arguments
        assert predict(first, pictures, output, *others) == 2
        said = error_of(capsys)
        assert "manifest-1-of-2.jsonl was begun with " in said and difference in said
    (pictures / "0.png").unlink()
    assert predict(weights, pictures, output, "--shard", "1/2") == 2
    assert "was begun with pictures 18, not 17" in error_of(capsys)
    assert answers(output) == before


def test_shards_of_several_machines_that_differ_are_refused_when_they_are_merged(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = untrained("detection")
    assert predict(weights, pictures, tmp_path / "a", "--shard", "1/2") == 0
    assert predict(weights, pictures, tmp_path / "b", "--shard", "2/2", "--precision", "bf16") == 0
    capsys.readouterr()
    assert merge(tmp_path / "a", tmp_path / "b", "--output", tmp_path / "all") == 2
    assert "was made with engine 'torch bf16, 1 threads', not 'torch fp32, 1 threads' as in" in error_of(capsys)
    assert not (tmp_path / "all").exists()
    assert merge(tmp_path / "a") == 2
    assert error_of(capsys).endswith(
        f"1 of 2 shards are not whole: mbseg predict {weights} {pictures} {tmp_path / 'a'} --shard 2/2"
    )


def test_a_picture_that_cannot_be_read_is_told_of_by_its_shard_and_by_merge(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "4.png").write_text("no picture")
    for answered in 18, 0:
        assert predict(untrained("segmentation"), pictures, tmp_path / "out", "--shard", "1/1", "--json") == 2
        said = capsys.readouterr()
        assert json.loads(said.out)["answered"] == answered
        assert said.err.splitlines()[-1] == "error: 1 of 18 pictures cannot be read: 4.png"
    assert merge(tmp_path / "out", "--json") == 2
    said = capsys.readouterr()
    assert json.loads(said.out) == {"output": str(tmp_path / "out"), "pictures": 18, "faulty": ["4.png"]}
    assert said.err == "error: 1 of 18 pictures cannot be read: 4.png\n"
    assert len(answers(tmp_path / "out")) == COUNT - 1 + 1  # manifest.jsonl


@pytest.mark.parametrize("shard", ["0/4", "5/4", "a/b", "1/0"])
def test_a_shard_that_cannot_be_is_one_line(
    shard: str, untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(untrained("segmentation"), pictures, tmp_path / "out", "--shard", shard) == 2
    assert error_of(capsys).startswith(f"error: --shard is '{shard}'; 3/16 is the third of 16")
    assert not (tmp_path / "out").exists()


def test_a_config_is_no_ground_for_shards(
    config: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(config, pictures, tmp_path / "out", "--shard", "1/2") == 2
    assert "--shard needs weights that carry their config" in error_of(capsys)


def test_a_tree_of_pictures_gets_a_tree_of_answers(untrained: Weights, pictures: Path, tmp_path: Path) -> None:
    (pictures / "deep" / "er").mkdir(parents=True)
    (pictures / "9.png").rename(pictures / "deep" / "er" / "9.png")
    assert predict(untrained("segmentation"), pictures, tmp_path / "out", "--recursive") == 0
    assert (tmp_path / "out" / "deep" / "er" / "9.png").is_file()
    assert len(list((tmp_path / "out").rglob("*.png"))) == COUNT
    assert predict(untrained("segmentation"), pictures, pictures / "out", "--recursive") == 2
    assert not (pictures / "out").exists()
