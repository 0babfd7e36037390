"""What torch.save wrote, or somebody who knows how it writes: tensors and nothing else, or one line."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mbseg.errors import WeightsError
from mbseg.weights import states
from mbseg.weights.states import read_state
from mbseg.weights.store import DTYPES


class Called:
    """Asks the unpickler to call a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def holding_itself() -> dict[str, Any]:
    state: dict[str, Any] = {}
    state["model"] = state
    return state


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[object], Path]:
    def save(content: object) -> Path:
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=request.param)
        return tmp_path / "x.pth"

    return save


def refused(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"x\.pth") as caught:
        read_state(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_a_pickle_that_calls_something_is_refused(saved: Callable[[object], Path], tmp_path: Path) -> None:
    refused(saved({"a": Called(os.mkdir, str(tmp_path / "made"))}))
    assert not (tmp_path / "made").exists()


def test_an_array_of_gigabytes_is_not_made(saved: Callable[[object], Path]) -> None:
    refused(saved({"a": Called(bytearray, 1 << 40)}))
    with pytest.raises(WeightsError):
        read_state(saved({"a": Called(bytearray, 10)}))


@pytest.mark.parametrize(
    "content",
    [
        holding_itself(),
        {"state_dict": holding_itself()},
        {"weight": torch.zeros(1).expand(10**9)},
        {"weight": torch.zeros(10**9, device="meta")},
        {"weight": torch.zeros(3) + 0j},
        {"weight": torch.zeros(3).to(torch.float8_e4m3fn)},
        {3: torch.zeros(3)},
        {(1, "a" * 10**5): torch.zeros(3)},
        {"a\x1b[2J" * 10**5: 3},
        [torch.zeros(3)],
        "weights",
        None,
    ],
    ids=range(12),
)
def test_what_is_no_dense_state_is_refused(content: object, saved: Callable[[object], Path]) -> None:
    refused(saved(content))


def test_a_file_that_is_too_large_is_told_so(saved: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "LARGEST_FILE", 100)
    with pytest.raises(WeightsError, match=r"x\.pth has [\d,]+ bytes; up to 100 are read: save the state_dict"):
        read_state(saved({"weight": torch.zeros(300)}))


def test_values_of_a_strange_type_are_named(saved: Callable[[object], Path]) -> None:
    with pytest.raises(WeightsError, match=r"x\.pth holds values of torch\.complex64, which no network"):
        read_state(saved({"weight": torch.zeros(3) + 0j}))


def test_every_type_of_our_own_files_is_read(saved: Callable[[object], Path]) -> None:
    state = {str(dtype): torch.ones(3).to(dtype) for dtype in DTYPES}
    assert {name: value.dtype for name, value in read_state(saved(state)).items()} == {str(d): d for d in DTYPES}


def test_a_wrapped_state_is_found(saved: Callable[[object], Path]) -> None:
    path = saved({"epoch": 3, "model": {"state_dict": {"module.weight": torch.ones(3)}}})
    assert read_state(path)["weight"].tolist() == [1, 1, 1]


def rewritten(path: Path, *, compression: int, zeros: int = 0) -> Path:
    """The same zip archive, its tensors' bytes replaced by zeros if some are asked for."""
    with zipfile.ZipFile(path) as source:
        members = {entry.filename: source.read(entry) for entry in source.infolist()}
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in members.items():
            target.writestr(name, bytes(zeros) if zeros and "/data/" in name else data)
    return path


def test_a_compressed_archive_is_refused_before_it_grows(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(300)}, tmp_path / "x.pth")
    refused(rewritten(tmp_path / "x.pth", compression=zipfile.ZIP_DEFLATED, zeros=1 << 26))


def test_a_flipped_bit_in_the_values_is_noticed(tmp_path: Path) -> None:
    torch.save({"weight": torch.full((3000,), 3.0)}, path := tmp_path / "x.pth")
    data = bytearray(path.read_bytes())
    data[data.find(bytes(torch.tensor([3.0] * 9).numpy().data)) + 4] ^= 1
    path.write_bytes(data)
    refused(path)
