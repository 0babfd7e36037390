"""When measures are of the same rows on the same machine, and when they are taken anew."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from mbseg.config.load import load_experiment
from mbseg.tradeoff import measures
from mbseg.tradeoff.measures import Found, measured_once, measures_address, peak_bytes
from mbseg.tradeoff.rows import Row
from tests.tradeoff_lines import measured, row

CONFIG = "voc/deeplabv3_mobilenet_v2_os16_none"
FIRST, SECOND = measured(), measured({"net": 61.0, "class_map": 67.0})


def row_of(*overrides: str) -> Row:
    return row(experiment=load_experiment(CONFIG, overrides))


def address(*overrides: str) -> str:
    return measures_address([row_of(*overrides)])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Row]]:
    """The rows of every measurement, which gives `FIRST` the first time, and `SECOND` the second."""
    made: list[Sequence[Row]] = []
    answers = iter((FIRST, SECOND))

    def measure(rows: Sequence[Row]) -> Found:
        made.append(rows)
        return dict.fromkeys((one.name for one in rows), next(answers))

    monkeypatch.setattr(measures, "measure", measure)
    return made


@pytest.mark.parametrize(
    "override",
    [
        "threads=3",
        "device=cuda",
        "data.classes=[background, thing]",
        "model.output_stride=8",
        "model.backbone.width_mult=0.5",
        "model.head.aspp=dense",
        "evaluate.precision=bf16",
        "evaluate.backend=fused",
        "evaluate.flip=true",
        "evaluate.scales=[0.5, 1.0]",
    ],
)
def test_what_times_depend_on_asks_for_new_ones(override: str) -> None:
    assert address(override) != address()


def test_another_size_or_another_row_asks_for_new_ones() -> None:
    plain = row_of()
    larger = replace(plain, image_size=(1025, 2049))
    assert len({measures_address(rows) for rows in ([plain], [larger], [plain, row("more")])}) == 3


@pytest.mark.parametrize(
    "override",
    [
        "data.root=elsewhere",
        "train.seed=7",
        "train.steps=9",
        "model.backbone.weights=null",
        "model.backbone.weights=file.pth",
        "model.weights=file.safetensors",
    ],
)
def test_times_belong_to_no_weights_and_no_training(override: str) -> None:
    assert address(override) == address()


def test_torchs_own_number_of_threads_counts_where_the_rows_name_none(monkeypatch: pytest.MonkeyPatch) -> None:
    free, told = address(), address("threads=2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    assert address() != free
    assert address("threads=2") == told


def test_another_machine_measures_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    here = address()
    monkeypatch.setattr(measures, "processor", lambda: "another one")
    assert address() != here


def test_measures_are_taken_once(tmp_path: Path, calls: list[Sequence[Row]]) -> None:
    rows, file = [row_of()], tmp_path / "measures.json"
    first = measured_once(rows, file, again=False)
    assert measured_once(rows, file, again=False) == first == {"OS 16": FIRST}
    assert list(first["OS 16"].latency_ms) == ["net", "upsampling_argmax", "class_map"]  # the last one is the chart's
    assert len(calls) == 1


def test_they_are_taken_again_when_one_asks_for_it(tmp_path: Path, calls: list[Sequence[Row]]) -> None:
    rows, file = [row_of()], tmp_path / "measures.json"
    measured_once(rows, file, again=False)
    assert measured_once(rows, file, again=True) == {"OS 16": SECOND}
    assert measured_once(rows, file, again=False) == {"OS 16": SECOND}
    assert len(calls) == 2


def test_measures_of_other_rows_are_taken_again(tmp_path: Path, calls: list[Sequence[Row]]) -> None:
    file = tmp_path / "measures.json"
    measured_once([row_of()], file, again=False)
    assert measured_once([row_of("model.output_stride=8")], file, again=False) == {"OS 16": SECOND}
    assert len(calls) == 2


def file_with(rows: object) -> str:
    return json.dumps({"address": "ADDRESS", "rows": rows})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"address": "of another version"}',
        file_with({"OS 16": asdict(FIRST)})[:-20],
        file_with({"OS 16": {"latency_ms": {}}}),
        file_with({"OS 16": {**asdict(FIRST), "unknown": 1}}),
        file_with({"OS 16": None}),
        file_with([]),
        "\udcff",
    ],
)
def test_a_file_that_cannot_be_read_is_measured_again(tmp_path: Path, calls: list[Sequence[Row]], text: str) -> None:
    file = tmp_path / "measures.json"
    file.write_bytes(text.replace("ADDRESS", address()).encode(errors="surrogateescape"))
    assert measured_once([row_of()], file, again=False) == {"OS 16": FIRST}
    assert len(calls) == 1
    assert json.loads(file.read_text())["address"] == address()


@pytest.mark.parametrize("override", ["evaluate.precision=bf16", "evaluate.backend=fused"])
def test_memory_is_measured_of_the_plain_network_alone(monkeypatch: pytest.MonkeyPatch, override: str) -> None:
    monkeypatch.setattr(measures, "measure_peak_memory", lambda *_, **__: 1000)
    assert peak_bytes(row_of("evaluate.flip=true"), "cpu") == 1000
    assert peak_bytes(row_of(override), "cpu") is None


def test_memory_is_that_of_the_largest_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "measure_peak_memory", lambda _, size, **__: size[0])
    assert peak_bytes(row_of("evaluate.scales=[1.5, 0.5, 1.0]"), "cpu") == 769  # 512 * 1.5 + 1
