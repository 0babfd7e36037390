"""The tensors of weights files: of safetensors, and of what torch.save wrote."""

import re
import zipfile
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path

import torch
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.files import is_file, sha256_of_file, size_of
from mbseg.weights.keymap import State
from mbseg.weights.report import short
from mbseg.weights.store import DTYPES, read_weights

WRAPPERS = ("state_dict", "model")
DEEPEST = 3  # states in states
LARGEST_FILE = 1 << 30  # bytes; the MobileNets' have up to 250 MB, and a training's notes beside them no more
ARRAY_OF_BYTES = b"bytearray"  # the one thing in a pickle of tensors that asks for memory without having its size
PARALLEL = "module."


def read_state(path: Path) -> State:
    """The tensors of a .safetensors file or of one that torch.save wrote. Raises WeightsError."""
    if path.suffix == ".safetensors":
        return read_weights(path)[0]
    if not is_file(path):
        raise WeightsError(f"there is no weights file {path}")
    if path.suffix in (".tflite", ".pb"):
        raise WeightsError(f"{path} is read by mbseg import-weights only; import it, and name what that writes")
    check_promised_hash(path)
    return read_torch_file(path)


def read_torch_file(path: Path) -> State:
    if (size := size_of(path)) > LARGEST_FILE:
        raise WeightsError(f"{path} has {size:,} bytes; up to {LARGEST_FILE:,} are read: save the state_dict() alone")
    try:
        check_container(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it stumbles over
        raise WeightsError(f"{path} is no PyTorch weights file, damaged, or holds more than tensors") from error
    state = unwrap(content)
    if strange := strange_dtypes(state):
        raise WeightsError(f"{path} holds values of {strange[0]}, which no network of mbseg has")
    if not isinstance(state, Mapping) or not all(is_plain(key, value) for key, value in state.items()):
        raise WeightsError(f"{path} holds {summary(content)}; save the model's state_dict() alone, names to tensors")
    return dict(state)


def check_container(path: Path) -> None:
    """Raises ValueError for a file that torch.load takes, but no torch.save writes.

    torch itself looks at no checksum, unpacks what is compressed to any size, and makes arrays of bytes of any length.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content.find(ARRAY_OF_BYTES) >= 0:
            raise ValueError("an array of bytes")
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed")
        if damaged := archive.testzip():
            raise ValueError(damaged)


def unwrap(content: object) -> object:
    """Training scripts put the state beside their own notes, under one of two names, and DataParallel a prefix."""
    for _ in range(DEEPEST):  # a pickle may hold itself
        if isinstance(content, Mapping):
            content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if isinstance(content, Mapping) and content and all(is_parallel(key) for key in content):
        return {key.removeprefix(PARALLEL): value for key, value in content.items()}
    return content


def is_parallel(key: object) -> bool:
    return isinstance(key, str) and key.startswith(PARALLEL)


def strange_dtypes(state: object) -> list[torch.dtype]:
    values = state.values() if isinstance(state, Mapping) else ()
    return [value.dtype for value in values if isinstance(value, Tensor) and value.dtype not in DTYPES]


def is_plain(key: object, value: object) -> bool:
    """A name and a dense tensor on the CPU that is as large as it says."""
    if not isinstance(key, str) or not isinstance(value, Tensor) or value.is_nested:
        return False
    is_dense = value.layout is torch.strided and value.device.type == "cpu"
    return is_dense and value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def check_promised_hash(path: Path) -> None:
    """PyTorch's hubs end a file's stem with the first digits of its SHA-256: mobilenet_v2-b0353104.pth."""
    promise = re.search(r"-([0-9a-f]{8,64})$", path.stem)
    if promise is None:
        return
    sha256 = sha256_of(path)
    if not sha256.startswith(promise[1]):
        raise WeightsError(
            f"{path} is damaged: its name promises SHA-256 {promise[1]}..., it has {sha256[:8]}... "
            f"(rename the file if these digits are no checksum)"
        )


def sha256_of(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def summary(content: object) -> str:
    if isinstance(content, Mapping):
        return f"the keys {[short(str(key)) for key in list(content)[:3] if isinstance(key, str | int)]}"
    return f"a {type(content).__name__}"
