"""From a grid's file to its rows."""

from pathlib import Path

import pytest

from mbseg.config.grid import load_grid
from mbseg.errors import ConfigError
from mbseg.resources import config_names
from mbseg.tradeoff.rows import Row, rows_of

HEAD = "base: camvid/deeplabv3_mobilenet_v2_os16_none\nname: OS {model.output_stride}, {model.head.aspp}\n"
TWO_BY_TWO = "rows: [{axes: {model.output_stride: [16, 32], model.head.aspp: [none, dense]}}]\n"
MF = "{evaluate.scales: [0.5, 1.0], evaluate.flip: true}"


def rows(tmp_path: Path, text: str, *overrides: str) -> list[Row]:
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    return rows_of(*load_grid(str(file)), overrides)


def test_axes_are_combined_the_last_one_fastest(tmp_path: Path) -> None:
    names = [row.name for row in rows(tmp_path, HEAD + TWO_BY_TWO)]
    assert names == ["OS 16, none", "OS 16, dense", "OS 32, none", "OS 32, dense"]


def test_every_row_is_the_base_under_its_own_changes(tmp_path: Path) -> None:
    fine, *_, coarse = rows(tmp_path, f"{HEAD}set: {{train.batch_size: 4}}\n{TWO_BY_TWO}", "data.root=elsewhere")
    assert (fine.experiment.model.output_stride, coarse.experiment.model.output_stride) == (16, 32)
    assert fine.experiment.model.head.channels == 256  # the base's
    assert {row.experiment.train.batch_size for row in (fine, coarse)} == {4}
    assert {row.experiment.data.root for row in (fine, coarse)} == {Path("elsewhere")}


def test_skipped_combinations_are_left_out(tmp_path: Path) -> None:
    skip = "skip: [{model.output_stride: 32, model.head.aspp: dense}], "
    left = rows(tmp_path, HEAD + TWO_BY_TWO.replace("{axes", f"{{{skip}axes"))
    assert "OS 32, dense" not in [row.name for row in left] and len(left) == 3


def test_an_axis_may_offer_named_groups_of_changes(tmp_path: Path) -> None:
    axis = f"rows: [{{name: '{{choice[passes]}}', axes: {{passes: {{single: {{}}, MF: {MF}}}}}}}]\n"
    single, mf = rows(tmp_path, HEAD + axis)
    assert (single.name, mf.name) == ("single", "MF")
    assert (single.experiment.evaluate.flip, mf.experiment.evaluate.flip) == (False, True)


def test_how_a_row_is_evaluated_does_not_change_how_it_is_trained(tmp_path: Path) -> None:
    axis = f"rows: [{{name: '{{choice[passes]}}', axes: {{passes: {{single: {{}}, MF: {MF}}}}}}}]\n"
    single, mf = rows(tmp_path, HEAD + axis)
    assert single.trainings == mf.trainings
    assert not mf.trainings[0].evaluate.flip


def test_a_row_may_be_trained_otherwise_than_it_is_measured(tmp_path: Path) -> None:
    block = "rows: [{set: {model.output_stride: 8}, trained_with: {model.output_stride: 16}, seeds: [3, 5]}]\n"
    (row,) = rows(tmp_path, HEAD + block)
    assert row.experiment.model.output_stride == 8
    assert {seed: one.model.output_stride for seed, one in row.trainings.items()} == {3: 16, 5: 16}
    assert [one.train.seed for one in row.trainings.values()] == [3, 5]


def test_a_row_without_seeds_is_trained_with_that_of_the_config(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, HEAD + "rows: [{set: {train.seed: 7}}]\n")
    assert list(row.trainings) == [7]


def test_costs_are_taken_at_the_crop_unless_the_grid_says_otherwise(tmp_path: Path) -> None:
    crop, *_ = rows(tmp_path, HEAD + TWO_BY_TWO)
    told, *_ = rows(tmp_path, f"{HEAD}measure: {{image_size: [360, 480]}}\n{TWO_BY_TWO}")
    assert (crop.image_size, told.image_size) == ((321, 321), (360, 480))


def test_a_detector_is_measured_at_its_own_size(tmp_path: Path) -> None:
    text = "base: coco/ssdlite_mobilenet_v2\nname: '{model.image_size[0]}'\nrows: [{axes: {model.image_size: [224]}}]\n"
    (row,) = rows(tmp_path, text)
    assert (row.name, row.image_size) == ("224", (224, 224))


def test_a_base_may_lie_beside_its_grid(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("data: {kind: voc, root: somewhere}\nmodel: {output_stride: 8}\n")
    (row,) = rows(tmp_path, "base: own.yaml\nname: OS {model.output_stride}\nrows: [{}]\n")
    assert row.name == "OS 8"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "has no rows, so it is no grid"),
        (HEAD + "rows: []\n", "at least 1 item"),
        (HEAD + "rows: [{axis: {}}]\n", "rows.0.axis"),
        (HEAD + "rowz: [{}]\nrows: [{}]\n", "did you mean rows?"),
        (HEAD + "rows: [{axes: {model.output_strid: [16]}}]\n", "did you mean model.output_stride?"),
        (HEAD + "rows: [{axes: {model.output_stride: []}}]\n", "rows.0.axes.model.output_stride"),
        (HEAD + "rows: [{axes: {model.output_stride: 16}}]\n", "rows.0.axes.model.output_stride"),
        (HEAD + "rows: [{seeds: [1, 1]}]\n", "names a seed twice"),
        (HEAD + "rows: [{name: '{model.__class__}'}]\n", "there is no {model.__class__}"),
        (HEAD + "rows: [{name: '{model.output_stride:>9}'}]\n", "cannot be filled in"),
        (HEAD + "rows: [{name: '{data.crop_size[a]}'}]\n", "there is no {data.crop_size[a]}"),
        (HEAD + "rows: [{name: ''}]\n", "it gives nothing that can be read"),
        (HEAD + 'rows: [{name: "x \\uD800"}]\n', "half a character"),
        (HEAD + "rows: [{skip: [{}]}]\n", "every combination is skipped"),
        (HEAD + "rows: [{skip: [{model.head.asp: dense}]}]\n", "leaves nothing out"),
        (HEAD + "rows: [{skip: [{model.output_stride.x: 1}]}]\n", "leaves nothing out"),
        (HEAD + "rows: [{set: {model: {1: 2}}}]\n", "1 is no key of a config"),
        (HEAD + "rows: [{axes: {'': [1]}}]\n", "'' is no key of a config"),
        (HEAD + "set: &a {model: *a}\nrows: [{}]\n", "holds itself"),
        (HEAD + 'title: "two\\nlines"\nrows: [{}]\n', "more than one line"),
        (
            HEAD.replace("camvid/deeplabv3_mobilenet_v2_os16_none", "tradeoff/camvid") + "rows: [{}]\n",
            "is a grid itself",
        ),
        (HEAD + "rows: [{}, {}]\n", "two rows are named"),
        (HEAD + "rows: [{name: a}, {name: b, set: {threads: 1}}]\n", "threads differs between rows"),
        (HEAD + "rows: [{name: '{model.nothing}'}]\n", "cannot be filled in"),
        (HEAD + "rows: [{name: '{choice[tap]}'}]\n", "cannot be filled in"),
        (HEAD + "rows: [{name: '{unclosed'}]\n", "cannot be filled in"),
        (HEAD.replace("camvid/", "camwid/") + "rows: [{}]\n", "did you mean"),
        (HEAD + f"rows: [{{axes: {{train.seed: {list(range(1001))}}}}}]\n", "1000 are the most"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rows(tmp_path, text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_override_that_every_row_overrules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.output_stride=8 changes no row"):
        rows(tmp_path, HEAD + TWO_BY_TWO, "model.output_stride=8")


def test_a_row_costs_what_its_protocol_makes_of_a_picture(tmp_path: Path) -> None:
    sizes = "rows: [{axes: {evaluate.resize_longer_side: [257, 513]}, name: '{evaluate.resize_longer_side}'}]\n"
    small, large = rows(tmp_path, f"{HEAD}measure: {{image_size: [513, 385]}}\n{sizes}")
    assert (small.image_size, large.image_size) == ((257, 193), (513, 385))


@pytest.mark.parametrize("name", [name for name in config_names() if name.startswith("tradeoff/")])
def test_every_shipped_grid_has_rows(name: str) -> None:
    assert len(rows_of(*load_grid(name))) >= 6
