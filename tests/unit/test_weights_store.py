"""mbseg's weights files: nothing lost, nothing damaged unnoticed."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.models.segmentation import ModelCard
from mbseg.weights.store import read_weights, save_weights

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
