"""mbseg's weights files: nothing lost, nothing damaged unnoticed."""

import json
import math
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from mbseg.config.load import make_experiment
from mbseg.errors import ConfigError, WeightsError
from mbseg.models.segmentation import ModelCard, card_from
from mbseg.weights import store
from mbseg.weights.store import LARGEST_HEADER, digest, read_backbone_facts, read_weights, save_weights

CARD = ModelCard(
    classes=("background", "möwe"),
    palette=((0, 0, 0), (128, 0, 0)),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    config={"model": {"output_stride": 16, "weights": None}},
    metrics={"miou": 0.5},
)


def make_state() -> dict[str, Tensor]:
    """Small tensors of every kind: shared memory, strides, no elements, no dimensions."""
    weight = torch.arange(12.0).reshape(3, 4)
    return {
        "weight": weight,
        "transposed": weight.t(),
        "row": weight[1],
        "expanded": torch.tensor([1.0]).expand(5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "counter": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "mask": torch.tensor([True, False]),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save_weights(path, make_state(), CARD)
    return path


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    state, path = make_state(), tmp_path / "best.safetensors"
    save_weights(path, state, CARD)
    read, card = read_weights(path)
    assert card == CARD
    assert read.keys() == state.keys()
    for name, tensor in read.items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_what_would_be_refused_when_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_names = replace(CARD, classes=("x" * LARGEST_HEADER, "y"))
    with pytest.raises(WeightsError, match=r"a header of [\d,]+; up to .* are read"):
        save_weights(tmp_path / "best.safetensors", {}, long_names)
    monkeypatch.setattr(store, "LARGEST_FILE", 4000)
    with pytest.raises(WeightsError, match=r"has [\d,]+ bytes .* up to 4,000"):
        save_weights(tmp_path / "best.safetensors", {"weight": torch.zeros(1000)}, CARD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["\u3000sky", "street\u00a0lamp", "\U0001f600"])
def test_a_class_that_a_config_may_name_is_read_again(name: str, tmp_path: Path) -> None:
    experiment = make_experiment({"data": {"kind": "list", "root": "x", "classes": ["a", name]}}, source="test")
    card = replace(CARD, classes=experiment.data.classes)
    save_weights(tmp_path / "best.safetensors", {}, card)
    assert read_weights(tmp_path / "best.safetensors")[1] == card


@pytest.mark.parametrize("name", ["sky\n", "\x1b[2J", "a\u2028b", "\ud800"])
def test_a_class_that_no_line_can_show_is_refused_by_config_and_card(name: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.classes|which is not one line of text"):
        make_experiment({"data": {"kind": "list", "root": "x", "classes": ["a", name]}}, source="test")
    with pytest.raises(WeightsError, match="the classes that it names cannot be"):
        card_from(asdict(replace(CARD, classes=("a", name))))


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    state = make_state()
    save_weights(tmp_path / "a", state, CARD)
    save_weights(tmp_path / "b", {name: tensor.clone() for name, tensor in reversed(state.items())}, CARD)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_other_makers_has_no_card(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "plain.safetensors", metadata={"format": "pt"})
    tensors, card = read_weights(tmp_path / "plain.safetensors")
    assert card is None
    assert tensors["weight"].tolist() == [1, 1, 1]


def test_no_flipped_bit_gives_other_weights_or_another_card(file: Path) -> None:
    data, expected = file.read_bytes(), read_weights(file)[0]
    unnoticed = 0
    for position in range(len(data)):
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        if (found := read_unless_refused(file)) is not None:
            unnoticed += 1
            assert found[1] is None
            assert all(torch.equal(found[0][name], tensor) for name, tensor in expected.items())
    assert unnoticed == len("mbseg")  # without the name of our entry it is a file of other makers, its tensors right


def read_unless_refused(file: Path) -> tuple[dict[str, Tensor], ModelCard | None] | None:
    try:
        return read_weights(file)
    except WeightsError:
        return None


@pytest.mark.parametrize("kept", [0, 7, 8, 200, -1])
def test_a_truncated_file_is_refused(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=f"{file} is not a whole safetensors file"):
        read_weights(file)


def test_a_header_that_promises_more_than_there_is_is_refused_without_being_believed(file: Path) -> None:
    header = b'{"weight":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        read_weights(file)


def test_a_card_of_another_file_is_refused(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_weights(other, make_state(), replace(CARD, mean=(0.385, 0.456, 0.406)))
    file.write_bytes(other.read_bytes().replace(b"0.385", b"0.485"))
    with pytest.raises(WeightsError, match="does not have the SHA-256"):
        read_weights(file)


def test_a_newer_format_asks_for_an_update(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(rb"\"version\": 1", rb"\"version\": 2"))
    with pytest.raises(WeightsError, match=r"format version 2; this mbseg reads 1: update mbseg"):
        read_weights(file)


def test_what_is_no_weights_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("aeroplane\nbicycle\n" * 9)
    with pytest.raises(WeightsError, match=f"{tmp_path / 'x'} is not a whole safetensors file"):
        read_weights(tmp_path / "x")
    with pytest.raises(WeightsError, match=f"{tmp_path} is a folder; name a best.safetensors"):
        read_weights(tmp_path)
    (tmp_path / "last.pt").write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"last.pt is a checkpoint; name a best.safetensors"):
        read_weights(tmp_path / "last.pt")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    card = ModelCard(("a",), ((0, 0, 0),), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), {})
    save_weights(tmp_path / "x.safetensors", {"weight": torch.tensor([1.0, math.nan])}, card)
    with pytest.raises(WeightsError, match="holds values that are not finite: its training diverged"):
        read_weights(tmp_path / "x.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"there is no weights file {tmp_path / 'x'}"):
        read_weights(tmp_path / "x")


def sealed(card_text: str, state: dict[str, Tensor] | None = None) -> bytes:
    """A file whose card says anything, under a checksum that fits."""
    state = {"weight": torch.ones(3)} if state is None else state
    content = {"version": 1, "sha256": digest(state, card_text), "card": card_text}
    return save(state, metadata={"mbseg": json.dumps(content)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", []),
        ("classes", [1, 2]),
        ("classes", ["a", "b\x1b[2J"]),
        ("classes", [str(number) for number in range(10_001)]),
        ("palette", [[0, 0, 0]]),
        ("palette", [[0, 0, 0], [0, 0, 256]]),
        ("palette", [[0, 0], [0, 0]]),
        ("mean", [0.5, 0.5]),
        ("mean", [0.5, 0.5, math.nan]),
        ("std", [0.5, 0.5, 0]),
        ("config", []),
        ("metrics", None),
    ],
)
def test_a_card_that_says_what_cannot_be_is_refused_though_its_checksum_fits(
    name: str, value: object, tmp_path: Path
) -> None:
    (tmp_path / "x.safetensors").write_bytes(sealed(json.dumps(asdict(CARD) | {name: value})))
    with pytest.raises(WeightsError, match=f"is damaged: the {name} that it names cannot be"):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000, "{", "{}"])
def test_a_card_that_is_no_card_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(sealed(text))
    with pytest.raises(WeightsError, match="its card cannot be read"):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("text", ["[]", "3", "[" * 100_000, '{"version": 1, "sha256": "", "card": "\\ud800"}'])
def test_a_header_that_holds_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(save({"weight": torch.ones(3)}, metadata={"mbseg": text}))
    with pytest.raises(WeightsError, match="its header cannot be read"):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"settings": 3, "mean": [1, 2, 3], "std": [1, 2, 3]}',
        '{"settings": {}, "mean": [1, 2], "std": [1, 2, 3]}',
        '{"settings": {}, "mean": [1, 2, NaN], "std": [1, 2, 3]}',
    ],
)
def test_facts_of_a_backbone_that_cannot_be_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(save({"weight": torch.ones(3)}, metadata={"mbseg_backbone": text}))
    with pytest.raises(WeightsError, match="what it says of its backbone cannot be read"):
        read_backbone_facts(tmp_path / "x.safetensors")


def test_a_card_whose_config_leaves_the_backbone_away_has_the_usual_one(tmp_path: Path) -> None:
    save_weights(tmp_path / "x.safetensors", {"weight": torch.ones(3)}, replace(CARD, config={}))
    facts = read_backbone_facts(tmp_path / "x.safetensors")
    assert facts is not None and facts.settings == {}


def test_values_of_a_type_that_no_network_has_are_refused(tmp_path: Path) -> None:
    state = {"weight": torch.ones(4).to(torch.float8_e4m3fn)}
    (tmp_path / "x.safetensors").write_bytes(sealed(json.dumps(asdict(CARD)), state))
    with pytest.raises(WeightsError, match=r"holds values of torch\.float8_e4m3fn"):
        read_weights(tmp_path / "x.safetensors")


def test_a_header_of_a_million_tensors_is_refused_before_it_is_read(tmp_path: Path) -> None:
    length = LARGEST_HEADER + 1
    (tmp_path / "x.safetensors").write_bytes(length.to_bytes(8, "little") + b"{" + b" " * (length - 2) + b"}")
    with pytest.raises(WeightsError, match="a header of 2,097,153; up to"):
        read_weights(tmp_path / "x.safetensors")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="it is no regular file"):
        read_weights(tmp_path / "x.safetensors")
