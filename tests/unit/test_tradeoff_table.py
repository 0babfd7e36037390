"""The table's files, from lines built by hand."""

import csv
import io
import json

import pytest

from mbseg.tradeoff.lines import Line, record
from mbseg.tradeoff.published import Published
from mbseg.tradeoff.report import caption, notes
from mbseg.tradeoff.table import as_csv, as_json, as_markdown
from tests.tradeoff_lines import DETECTOR, cost, line, measured, paper, result, row

FULL = line(
    row("full", columns={"stride": "16"}),
    result(0, miou=0.70, boundary_iou=0.5),
    result(1, miou=0.724, boundary_iou=0.52),
    published=paper(note="one short"),
    measured=measured(),
)
BARE = line(row("bare"), why_no_score="not trained")


def table(*lines: Line) -> list[dict[str, str]]:
    """What Markdown shows, a dictionary a row."""
    headings, rule, *rows = (split(text) for text in as_markdown(lines).splitlines())
    assert rule == ["---"] * len(headings)
    return [dict(zip(headings, cells, strict=True)) for cells in rows]


def split(text: str) -> list[str]:
    return [cell.strip() for cell in text.replace("\\|", "&").strip("|").split("|")]


def spreadsheet(*lines: Line) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(lines).decode())))


def test_a_row_shows_all_that_is_known_of_it() -> None:
    assert table(FULL) == [
        {
            "row": "full",
            "stride": "16",
            "params M": "2.114",
            "madds B": "2.747",
            "memory MB": "50.0",
            "measured MB": "61.0",
            "net ms": "60.0",
            "+ upsampling, arg-max": "80.0",
            "+ class map": "66.0",
            "p95 of net": "65.0",
            "bound ms": "30.0",
            "net / bound": "2.0",
            "mIoU %": "71.2 (70.0, 72.4)",
            "Boundary IoU %": "51.0 (50.0, 52.0)",
            "seeds": "0 1",
            "paper: params, madds, score": "2.11 M, 2.75 B, 75.32 %",
            "ours counted so": "2.114 M, 2.747 B",
            "difference": "params +0.2 %, madds -0.1 %, score -4.1",
        }
    ]


def test_a_column_that_no_row_fills_is_left_out() -> None:
    (shown,) = table(BARE)
    assert list(shown) == ["row", "params M", "madds B", "memory MB"]


def test_what_a_row_lacks_is_blank() -> None:
    full, bare = table(FULL, BARE)
    assert {heading for heading, cell in bare.items() if cell} == {"row", "params M", "madds B", "memory MB"}
    assert list(full) == list(bare)


def test_one_seed_needs_no_list_beside_the_mean() -> None:
    (shown,) = table(line(None, result(3, miou=0.7)))
    assert (shown["mIoU %"], shown["seeds"]) == ("70.0", "3")


def test_a_given_file_has_no_seed() -> None:
    (shown,) = table(line(None, result(None, miou=0.7)))
    assert shown["mIoU %"] == "70.0" and "seeds" not in shown


def test_a_seed_without_a_score_does_not_pull_the_mean_down() -> None:
    (shown,) = table(line(None, result(0, miou=0.7, boundary_iou=None), result(1, miou=0.8, boundary_iou=0.6)))
    assert (shown["mIoU %"], shown["Boundary IoU %"]) == ("75.0 (70.0, 80.0)", "60.0")


def test_several_passes_have_no_percentile() -> None:
    (shown,) = table(line(measured=measured(p95_ms={"net": None, "upsampling_argmax": None, "class_map": None})))
    assert "p95 of net" not in shown and shown["net ms"] == "60.0"


def test_a_detector_has_boxes_and_its_own_scores() -> None:
    (shown,) = table(
        line(row(experiment=DETECTOR), result(ap=0.221, ap50=0.4), measured=measured({"net": 20.0, "boxes": 25.0}))
    )
    assert (shown["+ boxes"], shown["COCO AP %"], shown["AP50 %"]) == ("25.0", "22.1", "40.0")
    assert not {"mIoU %", "+ class map", "+ upsampling, arg-max"} & set(shown)


@pytest.mark.parametrize(
    ("printed", "shown", "difference"),
    [
        (paper(params_millions=None), "2.75 B, 75.32 %", "madds -0.1 %"),
        (paper(score_percent=None), "2.11 M, 2.75 B", "params +0.2 %, madds -0.1 %"),
        (paper(counted=cost(madds=5_500_000_000)), "2.11 M, 2.75 B, 75.32 %", "params +0.2 %, madds +100.0 %"),
    ],
)
def test_the_papers_columns_say_what_it_prints(printed: Published, shown: str, difference: str) -> None:
    (cells,) = table(line(published=printed))
    assert (cells["paper: params, madds, score"], cells["difference"]) == (shown, difference)


def test_a_bar_in_a_name_opens_no_cell() -> None:
    text = as_markdown([line(row("a|b"))])
    assert "| a\\|b |" in text
    assert table(line(row("a|b")))[0]["row"] == "a&b"


def test_a_spreadsheet_has_one_flat_line_a_row() -> None:
    full, bare = spreadsheet(FULL, BARE)
    assert (full["name"], bare["name"]) == ("full", "bare")
    assert not [cell for one in (full, bare) for cell in one.values() if cell.startswith(("{", "["))]
    assert (full["columns.stride"], full["latency_ms.net"]) == ("16", "60.0")
    assert full["published.source"] == "arXiv:1801.04381, Table 7"
    assert (full["seeds"], full["training.steps"], full["scores_of_seeds.miou"]) == ("0 1", "540 540", "0.7 0.724")
    assert {bare[key] for key in bare if key.startswith(("latency", "published", "training"))} == {""}


def test_a_section_has_no_column_of_its_own_beside_those_of_its_keys() -> None:
    keys = list(spreadsheet(BARE, FULL)[0])
    assert not [key for key in keys if any(other.startswith(f"{key}.") for other in keys)]
    assert "latency_ms" in spreadsheet(BARE)[0]  # blank, where no row has any


def test_json_holds_the_records() -> None:
    content = json.loads(as_json([FULL, BARE], {"title": "a table"}))
    assert content == {"title": "a table", "rows": [record(FULL), record(BARE)]}


def test_a_record_has_plain_units() -> None:
    found = record(FULL)
    assert found["params"] == 2_113_557 and found["miou"] == pytest.approx(0.712)
    assert found["measured_peak_activation_bytes"] == 61_000_000
    assert found["latency_conditions"] == {"batch": 1, "threads": 2, "device": "cpu", "backend": "torch eager, fp32"}
    assert found["published"]["score_difference_points"] == pytest.approx(71.2 - 75.32)
    assert found["published"]["params_difference_millions"] == pytest.approx(2.113557 - 2.11)


def test_notes_tell_why_a_row_has_no_score() -> None:
    assert list(notes([FULL, BARE]))[-1] == "No score of bare: not trained."
    assert list(notes([BARE, BARE])) == ["No score of any row: not trained."]
    other = line(row("other"), why_no_score="diverged")
    assert list(notes([BARE, other])) == ["No score of bare: not trained.", "No score of other: diverged."]


def test_notes_name_the_seeds_that_are_missing() -> None:
    some = line(row("some", seeds=(0, 1, 2)), result(1, miou=0.7))
    assert list(notes([some])) == ["some: not scored with seed 0, 2."]
    assert list(notes([line(row(seeds=(0, 1)), result(None, miou=0.7))])) == []  # a given file stands for all


def test_notes_name_the_papers_source_once() -> None:
    first, *others = notes([FULL, FULL])
    assert first == (
        "Paper: arXiv:1801.04381, Table 7; scores on VOC 2012 val, pretrained on ImageNet, COCO; "
        "costs in tf accounting, as ours beside them."
    )
    assert not [note for note in others if note.startswith("Paper:")]
    assert "full: one short." in others


def test_notes_tell_what_bounds_were_reckoned_with() -> None:
    (note,) = notes([line(row(seeds=(0,)), result(miou=0.7), measured=measured())])
    assert note == (
        "Bound: this machine's best, fp32, 2 threads: 100 G madds/s, 10 GB/s, "
        "of what fits the last-level cache (32 MiB) 50 GB/s."
    )
    assert list(notes([line(row(seeds=(0,)), result(miou=0.7), measured=measured(peaks=None))])) == []


def test_the_caption_says_what_the_figures_hold_for() -> None:
    assert caption([BARE]) == "mIoU on voc, val; costs at 513 x 513 (native accounting)"
    assert caption([FULL, BARE]) == (
        "mIoU on voc, val, 1449 pictures; costs at 513 x 513 (native accounting); times of one picture on cpu, "
        "2 threads, torch eager, fp32, what follows the network has noise to deal with, its worst case"
    )
