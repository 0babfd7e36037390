"""mbseg's own weights files: safetensors that carry the model's card and a checksum over everything."""

import hashlib
import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.files import size_of, write_atomically
from mbseg.models.segmentation import ModelCard, card_from

BACKBONE_KEY = "mbseg_backbone"
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)  # of JSON of another shape
METADATA_KEY = "mbseg"  # a single entry: safetensors writes several in random order
FORMAT_VERSION = 1
LARGEST_FILE = 2 << 30  # bytes; the MobileNets' have up to 250 MB
LARGEST_HEADER = 2 << 20  # bytes of names, shapes and card; a network of 2,000 tensors has 0.3 MB
DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8, torch.bool),
)


def save_weights(path: Path, state: Mapping[str, Tensor], card: ModelCard) -> None:
    """Writes `state` and `card` atomically; equal input gives equal bytes.

    Raises RunError if the disk refuses, WeightsError for more than `read_weights` would read.
    """
    tensors = {name: standalone(tensor) for name, tensor in state.items()}
    card_text = json.dumps(asdict(card))
    content = {"version": FORMAT_VERSION, "sha256": digest(tensors, card_text), "card": card_text}
    write(path, tensors, {METADATA_KEY: json.dumps(content)})


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    data = save(tensors, metadata=metadata)
    check_extent(path, len(data), header_length(data))
    write_atomically(path, data)


class BackboneFacts(NamedTuple):
    """What a backbone expects of those who use it."""

    settings: dict[str, Any]  # the `model.backbone` section that builds it
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def save_backbone(path: Path, state: Mapping[str, Tensor], facts: BackboneFacts) -> None:
    """Writes a backbone alone, atomically, with what it expects. Raises as `save_weights` does."""
    tensors = {name: standalone(tensor) for name, tensor in state.items()}
    write(path, tensors, {BACKBONE_KEY: json.dumps(facts._asdict())})


def read_backbone_facts(path: Path) -> BackboneFacts | None:
    """What a backbone or the backbone of a whole model expects; None for a file that mbseg did not write."""
    tensors, metadata = read_safetensors(path)
    if BACKBONE_KEY in metadata:
        return facts_from(path, metadata[BACKBONE_KEY])
    if METADATA_KEY in metadata:
        card = verified_card(path, tensors, metadata[METADATA_KEY])
        return BackboneFacts(backbone_settings(card.config), card.mean, card.std)
    return None


def facts_from(path: Path, text: str) -> BackboneFacts:
    try:
        content = json.loads(text)
        mean, std = triple(content["mean"]), triple(content["std"])
        return BackboneFacts({**content["settings"]}, mean, std)
    except MALFORMED as error:
        raise WeightsError(f"{path} is damaged: what it says of its backbone cannot be read") from error


def triple(values: list[float]) -> tuple[float, float, float]:
    """Raises ValueError for anything but three finite numbers."""
    red, green, blue = map(float, values)
    if not all(map(math.isfinite, (red, green, blue))):
        raise ValueError(values)
    return red, green, blue


def backbone_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The `model.backbone` section of a config, which may leave it or what is around it away."""
    model = config.get("model")
    settings = model.get("backbone") if isinstance(model, dict) else None
    return settings if isinstance(settings, dict) else {}


def read_weights(path: Path) -> tuple[dict[str, Tensor], ModelCard | None]:
    """The tensors of a safetensors file and its card; None for a file that mbseg did not write.

    Raises WeightsError for a file that is missing, damaged or of a newer format.
    """
    tensors, metadata = read_safetensors(path)
    if METADATA_KEY not in metadata:
        return tensors, None
    return tensors, verified_card(path, tensors, metadata[METADATA_KEY])


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if is_folder(path) or path.suffix == ".pt":
        raise WeightsError(f"{path} is a {'folder' if is_folder(path) else 'checkpoint'}; name a best.safetensors")
    try:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}, file.metadata() or {}
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # such as of too long a name


def check_header(path: Path) -> None:
    """Raises OSError for what is no file, WeightsError for one that would fill the memory, as many small tensors do."""
    size = size_of(path)
    with path.open("rb") as file:
        length = header_length(file.read(8))
    check_extent(path, size, length)


def header_length(data: bytes) -> int:
    """As a file's first bytes say."""
    return int.from_bytes(data[:8], "little")


def check_extent(path: Path, size: int, length: int) -> None:
    if size > LARGEST_FILE or LARGEST_HEADER < length <= size:
        raise WeightsError(
            f"{path} has {size:,} bytes and a header of {length:,}; "
            f"up to {LARGEST_FILE:,} and {LARGEST_HEADER:,} are read"
        )


def verified_card(path: Path, tensors: Mapping[str, Tensor], metadata: str) -> ModelCard:
    try:
        content = json.loads(metadata)
        version, sha256, card_text = content["version"], content["sha256"], content["card"]
        card_text.encode()  # halves of characters cannot be
    except MALFORMED as error:
        raise WeightsError(f"{path} is damaged: its header cannot be read") from error
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {reprlib.repr(version)}; this mbseg reads {FORMAT_VERSION}: update mbseg"
        )
    if digest(tensors, card_text) != sha256:
        raise WeightsError(f"{path} is damaged: its content does not have the SHA-256 it was written with")
    if strange := {tensor.dtype for tensor in tensors.values()}.difference(DTYPES):
        raise WeightsError(f"{path} holds values of {strange.pop()}, which no network of mbseg has")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise WeightsError(f"{path} holds values that are not finite: its training diverged")
    try:
        return card_from(json.loads(card_text))
    except WeightsError as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    except MALFORMED as error:
        raise WeightsError(f"{path} is damaged: its card cannot be read") from error


def standalone(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, its memory shared with nothing: what safetensors can store."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def digest(tensors: Mapping[str, Tensor], card_text: str) -> str:
    """SHA-256 over the card and the names, types, shapes and bytes of all tensors."""
    sha256 = hashlib.sha256(card_text.encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()
