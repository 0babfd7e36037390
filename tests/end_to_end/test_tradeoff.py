"""`mbseg tradeoff` from a grid to its table and charts, on drawn pictures."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml

from mbseg.cli import main
from mbseg.engine.run_folder import RunFolder
from mbseg.tradeoff import measures

FILES = {"table.md", "table.csv", "table.json", "pareto.png", "pareto.html"}
SCORES = ("miou", "boundary_iou", "scores_of_seeds", "seeds", "weights", "protocol")
MF = {"evaluate.scales": [0.5, 1.0], "evaluate.flip": True}


@pytest.fixture
def grid(tmp_path: Path, config: str) -> Path:
    """Two trainings and four rows: strides 16 and 32, each evaluated plainly and with MF."""
    return write_grid(tmp_path, Path(config).name)


def write_grid(folder: Path, base: str, *more: dict[str, Any]) -> Path:
    tree = {
        "base": base,
        "title": "drawn shapes",
        "name": "OS {model.output_stride} {choice[passes]}",
        "group": "OS {model.output_stride}",
        "columns": {"stride": "{model.output_stride}"},
        "rows": [{"axes": {"model.output_stride": [16, 32], "passes": {"single": {}, "MF": MF}}}, *more],
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: dict[str, Any]) -> Path:
    """A folder with the whole sweep of `grid`, trained and measured."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_experiment))
    grid = write_grid(folder, "tiny.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SECONDS_PER_ROW", 0.2)
        assert main(["tradeoff", str(grid), "--train", "--jobs", "2", "--output", str(folder / "table")]) == 0
    return folder


def table(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "table.json").read_text())["rows"]
    return rows


def scores(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in SCORES}


def test_a_grid_is_trained_scored_measured_and_drawn(finished: Path) -> None:
    folder = finished / "table"
    assert {path.name for path in folder.iterdir()} >= FILES
    rows = table(folder)
    assert [row["name"] for row in rows] == ["OS 16 single", "OS 16 MF", "OS 32 single", "OS 32 MF"]
    assert len(list((folder / "runs").glob("*/result.json"))) == 2  # a row that is only evaluated otherwise trains none
    for row in rows:
        assert 0 < row["miou"] < 1 and 0 < row["boundary_iou"] < 1
        assert row["latency_ms"]["class_map"] > row["latency_ms"]["net"] > row["bound_ms"] > 0
        assert row["measured_peak_activation_bytes"] > 0 and row["peak_activation_bytes"] > 0
    plain, mf, coarse, _ = rows
    assert mf["madds"] > plain["madds"] > coarse["madds"]
    assert plain["weights"] == mf["weights"] != coarse["weights"]
    with (folder / "table.csv").open() as file:
        assert [row["columns.stride"] for row in csv.DictReader(file)] == ["16", "16", "32", "32"]
    text = (folder / "table.md").read_text()
    assert "| OS 32 MF |" in text and "mbseg tradeoff" in text


def test_the_scores_are_those_of_evaluate(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished / "table"
    row = table(folder)[1]
    best = RunFolder(folder / "runs" / row["weights"][0]).best
    assert main(["evaluate", str(best), "evaluate.scales=[0.5,1.0]", "evaluate.flip=true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["miou"] == row["miou"]


def test_a_second_call_repeats_nothing(finished: Path) -> None:
    folder = finished / "table"
    command = ["tradeoff", str(finished / "grid.yaml"), "--train", "--output", str(folder)]
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.parent.name in ("results", "runs")}
    first = (folder / "table.json").read_bytes()
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (folder / "table.json").read_bytes() == first


def test_without_training_every_row_has_its_costs_and_says_why_it_has_no_score(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "table"
    assert main(["tradeoff", str(grid), "--counts-only", "--output", str(folder)]) == 0
    for row in table(folder):
        assert row["miou"] is None and row["params"] > 0 and "--train" in row["why_no_score"]
    assert "No score of any row: not trained" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} >= FILES


def test_finished_runs_are_used_wherever_they_lie(grid: Path, config: str, tmp_path: Path) -> None:
    assert main(["train", config, "--output", str(tmp_path / "mine")]) == 0
    folder = tmp_path / "table"
    assert main(["tradeoff", str(grid), "--counts-only", "--runs", str(tmp_path), "--output", str(folder)]) == 0
    assert [row["miou"] is not None for row in table(folder)] == [True, True, False, False]
    assert not (folder / "runs").exists()


def test_a_given_file_serves_the_rows_of_its_network(grid: Path, config: str, tmp_path: Path) -> None:
    assert main(["train", config, "train.seed=9", "--output", str(tmp_path / "mine")]) == 0
    best, folder = tmp_path / "mine" / "best.safetensors", tmp_path / "table"
    assert main(["tradeoff", str(grid), "--counts-only", "--weights", str(best), "--output", str(folder)]) == 0
    assert [row["miou"] is not None for row in table(folder)] == [True, True, False, False]
    assert table(folder)[0]["weights"][0].startswith("best.safetensors ")


def test_results_that_come_with_the_grid_need_no_weights(grid: Path, finished: Path, tmp_path: Path) -> None:
    copytree(finished / "table" / "results", tmp_path / "grid")
    assert main(["tradeoff", str(grid), "--counts-only", "--output", str(tmp_path / "table")]) == 0
    assert [scores(row) for row in table(tmp_path / "table")] == [scores(row) for row in table(finished / "table")]


@pytest.mark.parametrize("moment", ["runs/*.yaml", "runs/*/last.pt", "results/*.json"])
def test_a_killed_sweep_goes_on_to_the_same_table(grid: Path, finished: Path, tmp_path: Path, moment: str) -> None:
    """Killed when there is the first config of a training, the first checkpoint, the first score."""
    folder = tmp_path / "table"
    command = ["tradeoff", str(grid), "--train", "--jobs", "2", "--counts-only", "--output", str(folder)]
    kill_when(lambda: any(folder.glob(moment)), command)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("results/*.json")}
    assert main(command) == 0
    assert [scores(row) for row in table(folder)] == [scores(row) for row in table(finished / "table")]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def kill_when(is_time: Callable[[], bool], command: list[str]) -> None:
    sweep = subprocess.Popen([sys.executable, "-m", "mbseg", *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not is_time() and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sweep.poll() is None
    sweep.kill()
    sweep.wait()


def test_two_sweeps_do_not_write_into_one_folder(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mbseg.tradeoff.sweep import only_sweep_in

    with only_sweep_in(tmp_path / "table"):
        assert main(["tradeoff", str(grid), "--counts-only", "--output", str(tmp_path / "table")]) == 2
    assert "is in use by process" in capsys.readouterr().err


def test_a_row_that_cannot_be_is_named_before_any_is_run(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grid(tmp_path, "tiny.yaml", {"name": "impossible", "set": {"model.head.at": "c9"}})
    assert main(["tradeoff", str(grid), "--train", "--output", str(tmp_path / "table")]) == 2
    said = capsys.readouterr().err
    assert "row 'impossible'" in said and said.count("\n") == 1
    assert not (tmp_path / "table").exists()


def test_data_that_is_not_there_is_missed_before_the_first_training(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"data.root={tmp_path / 'nowhere'}"
    assert main(["tradeoff", str(grid), nowhere, "--train", "--output", str(tmp_path / "table")]) == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "table").exists()


def test_a_training_that_fails_leaves_the_others_and_a_table(
    grid: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grid(
        tmp_path,
        "tiny.yaml",
        {"name": "diverging", "set": {"train.optimizer.learning_rate": 1e30, "train.max_nonfinite_steps": 1}},
    )
    folder, runs = tmp_path / "table", str(finished / "table" / "runs")
    options = ["--train", "--runs", runs, "--counts-only", "--output", str(folder)]
    assert main(["tradeoff", str(grid), *options]) == 2
    said = capsys.readouterr().err
    assert "1 of the trainings failed" in said and "not finite" in said
    assert [row["miou"] is not None for row in table(folder)] == [True, True, True, True, False]
    assert "not finite" in table(folder)[-1]["why_no_score"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the children of a killed process on Linux only")
def test_no_training_outlives_its_sweep(grid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    command = ["tradeoff", str(grid), "train.steps=100000", "--train", "--output", str(folder)]
    kill_when(lambda: any(folder.glob("runs/*/metrics.jsonl")), command)
    time.sleep(1)
    assert not [one for one in running_commands() if str(folder) in one]


def running_commands() -> list[str]:
    """Command lines; processes that end meanwhile have none."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                found.append((process / "cmdline").read_text())
            except OSError:
                continue
    return found
