"""Configs: strict keys, one base, overrides through the same validation."""

from pathlib import Path

import pytest
import yaml

from mbseg.config.load import load_experiment, make_experiment, merge, parse_override, to_tree, to_yaml
from mbseg.errors import ConfigError
from mbseg.resources import config_names

LEAST = {"data": {"kind": "shapes", "root": "datasets/shapes"}}


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", [name for name in config_names() if not name.startswith("tradeoff/")])
def test_every_shipped_config_is_valid(name: str) -> None:
    is_detection = "ssdlite" in name or "detection" in name
    task = "joint" if "joint" in name else "detection" if is_detection else "segmentation"
    assert load_experiment(name).task == task


def test_a_grid_is_no_config() -> None:
    with pytest.raises(ConfigError, match="is a grid of experiments; run it with mbseg tradeoff tradeoff/camvid"):
        load_experiment("tradeoff/camvid")


def test_the_resolved_config_read_again_is_the_same_experiment() -> None:
    experiment = make_experiment(
        LEAST, ["train.steps=7", "train.loss.class_weights=[1,2]", "evaluate.flip=true"], source="test"
    )
    assert make_experiment(yaml.safe_load(to_yaml(experiment)), source="test") == experiment


def test_an_override_wins_over_the_file_and_the_file_over_its_base(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "data: {kind: shapes, root: x}\ntrain: {steps: 1, batch_size: 2, seed: 3}")
    config = write(tmp_path, "config.yaml", "base: base.yaml\ntrain: {batch_size: 4, seed: 5}")
    train = load_experiment(config, ["train.seed=6"]).train
    assert (train.steps, train.batch_size, train.seed) == (1, 4, 6)


def test_a_base_of_a_base_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "data: {kind: shapes, root: x}")
    write(tmp_path, "b.yaml", "base: a.yaml")
    with pytest.raises(ConfigError, match="has a base itself"):
        load_experiment(write(tmp_path, "c.yaml", "base: b.yaml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=3", r"unknown key train\.step; did you mean train\.steps\?"),
        ("model.backbone.widht_mult=1", r"did you mean model\.backbone\.width_mult\?"),
        ("tarin.steps=3", r"did you mean train\?"),
        ("zzz=3", "this section has task, device"),
        ("train.batch_size=0", "train.batch_size: Input should be greater than 0, not 0"),
        ("train.batch_size=many", "train.batch_size: .*not 'many'"),
        ("train.steps=null", "exactly one of train.steps and train.epochs"),
        ("train.loss.cross_entropy=0", "every loss has weight 0"),
        ("data.augment.scale=[2,1]", "runs backwards"),
        ("evaluate.scales=[]", "at least 1 item"),
        ("train.optimizer.learning_rate=nan", "finite number"),
        ("noequals", "is not an override"),
        (".=1", "is not an override"),
        ("a=[", "not YAML"),
    ],
)
def test_a_bad_override_is_one_line_that_helps(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_experiment({**LEAST, "train": {"steps": 1}}, [override], source="test")
    assert "\n" not in str(caught.value)


def test_numbers_in_scientific_notation_are_numbers() -> None:
    overrides = ["train.steps=1", "train.optimizer.learning_rate=1e-4"]
    experiment = make_experiment(LEAST, overrides, source="test")
    assert experiment.train.optimizer.learning_rate == 1e-4


def test_an_experiment_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_experiment(LEAST, source="test").device = "cuda"


@pytest.mark.parametrize(
    ("text", "message"), [("[1, 2]", "holds list"), ("a: [", "is not YAML"), ("base: 3", "base is 3"), ("", "NoneType")]
)
def test_a_file_that_is_no_config_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_experiment(write(tmp_path, "odd.yaml", text))
    assert "odd.yaml" in str(caught.value)


def test_an_unknown_config_name_gets_the_nearest_shipped_one() -> None:
    with pytest.raises(ConfigError, match="did you mean quickstart"):
        load_experiment("quikstart")


def test_merging_replaces_lists_and_joins_sections() -> None:
    assert merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2, 3]}}) == {"a": {"b": 1, "c": [2, 3]}}


def test_to_say_epochs_is_to_unsay_steps() -> None:
    train = make_experiment({**LEAST, "train": {"steps": 9}}, ["train.epochs=3"], source="test").train
    assert (train.steps, train.epochs) == (None, 3)


def test_an_override_makes_a_branch_of_sections() -> None:
    assert parse_override("a.b.c=[1, x]") == {"a": {"b": {"c": [1, "x"]}}}


def test_the_tree_holds_plain_types_only() -> None:
    assert to_tree(make_experiment(LEAST, source="test"))["data"]["root"] == "datasets/shapes"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.batch_sise=4", "train.batch_sise=4: unknown key train.batch_sise; did you mean train.batch_size?"),
        ("train.steps=many", "train.steps=many: train.steps: "),
        ("train.optimizer={rate: 3}", "train.optimizer={rate: 3}: unknown key train.optimizer.rate"),
    ],
)
def test_a_mistyped_override_is_told_as_it_was_typed(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment("quickstart", ["train={seed: 1}", override])
    assert str(caught.value).startswith(said)
