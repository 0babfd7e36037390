"""mbseg's own weights files: safetensors that carry the model's card and a checksum over everything."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.files import write_atomically
from mbseg.models.segmentation import ModelCard, card_from

BACKBONE_KEY = "mbseg_backbone"
METADATA_KEY = "mbseg"  # a single entry: safetensors writes several in random order
FORMAT_VERSION = 1


def save_weights(path: Path, state: Mapping[str, Tensor], card: ModelCard) -> None:
    """Writes `state` and `card` atomically; equal input gives equal bytes. Raises RunError if the disk refuses."""
    tensors = {name: standalone(tensor) for name, tensor in state.items()}
    card_text = json.dumps(asdict(card))
    content = {"version": FORMAT_VERSION, "sha256": digest(tensors, card_text), "card": card_text}
    write_atomically(path, save(tensors, metadata={METADATA_KEY: json.dumps(content)}))


class BackboneFacts(NamedTuple):
    """What a backbone expects of those who use it."""

    settings: dict[str, Any]  # the `model.backbone` section that builds it
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def save_backbone(path: Path, state: Mapping[str, Tensor], facts: BackboneFacts) -> None:
    """Writes a backbone alone, atomically, with what it expects. Raises RunError."""
    tensors = {name: standalone(tensor) for name, tensor in state.items()}
    write_atomically(path, save(tensors, metadata={BACKBONE_KEY: json.dumps(facts._asdict())}))


def read_backbone_facts(path: Path) -> BackboneFacts | None:
    """What a backbone or the backbone of a whole model expects; None for a file that mbseg did not write."""
    tensors, metadata = read_safetensors(path)
    if BACKBONE_KEY in metadata:
        content = json.loads(metadata[BACKBONE_KEY])
        return BackboneFacts(content["settings"], tuple(content["mean"]), tuple(content["std"]))
    if METADATA_KEY in metadata:
        card = verified_card(path, tensors, metadata[METADATA_KEY])
        return BackboneFacts(card.config["model"]["backbone"], card.mean, card.std)
    return None


def read_weights(path: Path) -> tuple[dict[str, Tensor], ModelCard | None]:
    """The tensors of a safetensors file and its card; None for a file that mbseg did not write.

    Raises WeightsError for a file that is missing, damaged or of a newer format.
    """
    tensors, metadata = read_safetensors(path)
    if METADATA_KEY not in metadata:
        return tensors, None
    return tensors, verified_card(path, tensors, metadata[METADATA_KEY])


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if path.is_dir() or path.suffix == ".pt":
        raise WeightsError(f"{path} is a {'folder' if path.is_dir() else 'checkpoint'}; name a best.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}, file.metadata() or {}
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error


def verified_card(path: Path, tensors: Mapping[str, Tensor], metadata: str) -> ModelCard:
    try:
        content = json.loads(metadata)
        version, sha256, card_text = content["version"], content["sha256"], content["card"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is damaged: its header cannot be read") from error
    if version != FORMAT_VERSION:
        raise WeightsError(f"{path} has format version {version}; this mbseg reads {FORMAT_VERSION}: update mbseg")
    if digest(tensors, str(card_text)) != sha256:
        raise WeightsError(f"{path} is damaged: its content does not have the SHA-256 it was written with")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise WeightsError(f"{path} holds values that are not finite: its training diverged")
    try:
        return card_from(json.loads(card_text))
    except (ValueError, KeyError, TypeError) as error:
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
