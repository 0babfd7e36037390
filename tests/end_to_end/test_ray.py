"""`mbseg predict-on-ray`: shards on a cluster, of which a worker is lost."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbseg.cli import main
from mbseg.prediction.on_ray import quiet_ray

COUNT = 200
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        patches = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(patches).resize((64, 48), Image.Resampling.NEAREST).save(folder / f"{number}.png")
    return folder


def answers(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir() if "-of-" not in path.name}


def parents() -> dict[int, int]:
    """Of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return found


def workers_of(process: int) -> list[int]:
    """Those at a shard just now, by the title that Ray gives them."""
    known = parents()
    below = {process}
    while more := {one for one, parent in known.items() if parent in below} - below:
        below |= more
    return [one for one in below if b"make_shard" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_a_lost_worker_changes_no_byte(untrained: Callable[[str], Path], pictures: Path, tmp_path: Path) -> None:
    weights, output = untrained("joint"), tmp_path / "out"
    arguments = ["predict-on-ray", str(weights), str(pictures), str(output), "--shards", "3", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "mbseg", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as driver:
        while driver.poll() is None and len(list(output.glob("*.json"))) < 10:
            time.sleep(0.01)
        lost = workers_of(driver.pid)[0]
        os.kill(lost, signal.SIGKILL)
        out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert json.loads(out) == {"output": str(output), "pictures": COUNT, "faulty": []}
    merged = answers(output)
    assert merged.pop("manifest.jsonl")
    assert main(["predict", str(weights), str(pictures), str(tmp_path / "plain")]) == 0
    assert merged == answers(tmp_path / "plain")


def test_without_ray_one_line_names_the_extra(
    untrained: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = [str(untrained("joint")), str(tmp_path), str(tmp_path / "out"), "--shards", "3"]
    assert main(["predict-on-ray", *arguments]) == 2
    assert capsys.readouterr().err == (
        "error: ray is not installed; predict-on-ray needs it: pip install 'mbseg[ray]'\n"
    )


def test_ray_reports_nothing_to_its_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    quiet_ray()
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert not usage_stats_enabled()
