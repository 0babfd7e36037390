"""The tensors of weights files: of safetensors, and of what torch.save wrote."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.weights.keymap import State
from mbseg.weights.store import read_weights

WRAPPERS = ("state_dict", "model")
PARALLEL = "module."
DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.int8,
)


def read_state(path: Path) -> State:
    """The tensors of a .safetensors file or of one that torch.save wrote. Raises WeightsError."""
    if path.suffix == ".safetensors":
        return read_weights(path)[0]
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    if path.suffix in (".tflite", ".pb"):
        raise WeightsError(f"{path} is read by mbseg import-weights only; import it, and name what that writes")
    check_promised_hash(path)
    return read_torch_file(path)


def read_torch_file(path: Path) -> State:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it stumbles over
        raise WeightsError(f"{path} is no PyTorch weights file, damaged, or holds more than tensors") from error
    state = unwrap(content)
    if not isinstance(state, Mapping) or not all(is_plain(key, value) for key, value in state.items()):
        raise WeightsError(f"{path} holds {summary(content)}; save the model's state_dict() alone, names to tensors")
    return dict(state)


def unwrap(content: object) -> object:
    """Training scripts put the state beside their own notes, under one of two names, and DataParallel a prefix."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if isinstance(content, Mapping) and content and all(str(key).startswith(PARALLEL) for key in content):
        return {str(key).removeprefix(PARALLEL): value for key, value in content.items()}
    return content


def is_plain(key: object, value: object) -> bool:
    """A name and a dense tensor on the CPU that is as large as it says."""
    if not isinstance(key, str) or not isinstance(value, Tensor):
        return False
    is_dense = value.layout is torch.strided and value.device.type == "cpu" and value.dtype in DTYPES
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
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def summary(content: object) -> str:
    if isinstance(content, Mapping):
        return f"the keys {sorted(map(str, content))[:3]}"
    return f"a {type(content).__name__}"
