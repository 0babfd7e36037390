"""What an exported file says of itself, and whether it is whole.

ONNX: `metadata_props` hold the facts as JSON under `mbseg`. A second message with nothing but a SHA-256 over all
before it is appended: protobuf merges messages that stand in a row, so every reader of ONNX reads the file.
OpenVINO: the .xml holds both in its `rt_info`; the SHA-256 is over the .xml, zeros in its place, and the .bin.
ExecuTorch and LiteRT files hold the facts too, but mbseg does not read them again (`mobile_files`).
"""

import hashlib
import json
import re
import reprlib
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from xml.etree.ElementTree import ParseError

from mbseg.boxes.geometry import Size
from mbseg.errors import WeightsError
from mbseg.files import read_bounded, sha256_of_start, size_of
from mbseg.models.segmentation import ModelCard, card_from
from mbseg.runtime.onnx_graph import check_installed

if TYPE_CHECKING:
    from onnx import ModelProto

Format = Literal["onnx", "openvino", "executorch", "litert"]
Precision = Literal["fp32", "bf16", "int8"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "executorch": ".pte", "litert": ".tflite"}
TASKS = ("segmentation", "detection", "joint")
FORMAT_VERSION = 1
LARGEST_SIDE = 16384  # pixels
LARGEST_FILE = (2 << 30) - 1  # bytes; protobuf has no larger messages
LARGEST_XML = 4 << 20  # bytes; those of the MobileNets have up to 1 MB, and 10,000 names of classes as much
CHUNK = 1 << 20  # bytes
PRODUCER = b"mbseg"  # stands near the beginning of every .onnx file of ours
FACTS, SHA256 = "mbseg", "mbseg_sha256"
ZEROS = "0" * 64
SHA256_IN_XML = re.compile(rb'(<sha256 value=")([0-9a-f]{64})(")')


@dataclass(frozen=True)
class Artifact:
    """The facts of an exported file."""

    task: str
    precision: Precision  # in which it is to be run
    size: Size | None  # (height, width) of its frames; None: any
    card: ModelCard
    agreement: dict[str, float] = field(default_factory=dict)  # with PyTorch: shares of pixels and detections
    scores: dict[str, Any] = field(default_factory=dict)  # of int8: over data.val, before and after
    mbseg: str = version("mbseg")

    def to_json(self) -> str:
        """`classes`, `palette` and what else is on the card stand beside the rest."""
        facts = {"format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps({**facts.pop("card"), **facts})


def read_artifact(path: Path) -> Artifact:
    """Raises WeightsError for a file that is missing, damaged, of a newer format, or not written by `mbseg export`."""
    try:
        facts = onnx_facts(path) if path.suffix == SUFFIXES["onnx"] else openvino_facts(path)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file {error.filename}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return artifact_from(path, json.loads(facts))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: what it says of itself cannot be read") from error


def artifact_from(path: Path, content: dict[str, Any]) -> Artifact:
    if content["format_version"] != FORMAT_VERSION:
        version = reprlib.repr(content["format_version"])
        raise WeightsError(f"{path} has format version {version}; this mbseg reads {FORMAT_VERSION}: update mbseg")
    artifact = Artifact(
        task=content["task"],
        precision=content["precision"],
        size=size_from(content["size"]),
        card=card_of(path, content),
        agreement=content["agreement"],
        mbseg=content["mbseg"],
    )
    check_facts(path, artifact)
    return artifact


def size_from(sides: list[int] | None) -> Size | None:
    """Raises ValueError or TypeError for anything but the two sides of a picture."""
    if sides is None:
        return None
    height, width = sides
    if type(height) is not int or type(width) is not int or not 0 < min(sides) <= max(sides) <= LARGEST_SIDE:
        raise ValueError(sides)
    return height, width


def card_of(path: Path, content: dict[str, Any]) -> ModelCard:
    try:
        return card_from(content)
    except WeightsError as error:
        raise WeightsError(f"{path} is damaged: {error}; export it again") from error


def check_facts(path: Path, artifact: Artifact) -> None:
    """Raises WeightsError for what `mbseg export` never writes: the facts were edited, and sealed anew."""
    is_right = {
        "task": artifact.task in TASKS,
        "agreement": isinstance(artifact.agreement, dict),
        "precision": artifact.precision in get_args(Precision)
        and (path.suffix, artifact.precision) != (".onnx", "bf16"),
    }
    if wrong := [name for name, right in is_right.items() if not right]:
        raise WeightsError(f"{path} is damaged: the {wrong[0]} that it names cannot be; export it again")


def sealed_onnx(model: "ModelProto", artifact: Artifact) -> bytes:
    """The bytes of the file."""
    from onnx import helper

    helper.set_model_props(model, {FACTS: artifact.to_json()})
    model.producer_name, model.producer_version = "mbseg", artifact.mbseg
    data: bytes = model.SerializeToString(deterministic=True)
    return data + seal(hashlib.sha256(data).hexdigest())


def seal(digest: str) -> bytes:
    """A message of ONNX with this SHA-256 alone, always as long."""
    from onnx import ModelProto, StringStringEntryProto

    entry = StringStringEntryProto(key=SHA256, value=digest)
    sealing: bytes = ModelProto(metadata_props=[entry]).SerializeToString()
    return sealing


def onnx_facts(path: Path) -> str:
    """The JSON in a file that is whole. Raises WeightsError."""
    check_installed()
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    check_sealed(path)
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise WeightsError(f"{path} is damaged or cut short: it is no whole ONNX file; export it again") from error
    properties = {str(entry.key): str(entry.value) for entry in model.metadata_props}
    if FACTS not in properties:
        raise foreign(path)
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise WeightsError(f"{path} is damaged: it refers to other files, which `mbseg export` never does")
    return properties[FACTS]


def check_sealed(path: Path) -> None:
    """Before anything is made of its bytes. Raises WeightsError for a file that is not as it was written."""
    size, length = size_of(path), len(seal(ZEROS))
    if size > LARGEST_FILE:
        raise WeightsError(f"{path} has {size} bytes; up to {LARGEST_FILE} are read")
    with path.open("rb") as file:
        start = file.read(CHUNK)
        file.seek(max(0, size - length))
        sealing = file.read(length)
        if not sealing.startswith(seal(ZEROS).removesuffix(ZEROS.encode())) or sealing != seal(
            sha256_of_start(file, max(0, size - length)).hex()
        ):
            raise damaged(path) if PRODUCER in start else foreign(path)


def seal_openvino(path: Path) -> None:
    """Puts the SHA-256 into an .xml that `mark_openvino` has prepared."""
    text = path.read_bytes()
    path.write_bytes(SHA256_IN_XML.sub(rb"\g<1>" + openvino_digest(path, text).encode() + rb"\3", text))


def mark_openvino(model: Any, artifact: Artifact) -> None:
    """Notes in an openvino.Model what it is, with room for the SHA-256."""
    model.set_rt_info(artifact.to_json(), [FACTS, "facts"])
    model.set_rt_info(ZEROS, [FACTS, "sha256"])


def openvino_facts(path: Path) -> str:
    """The JSON in an .xml that is whole and beside its .bin. Raises WeightsError."""
    from defusedxml.ElementTree import fromstring

    text = read_bounded(path, LARGEST_XML)
    try:
        entry = fromstring(text).find(f"./rt_info/{FACTS}/facts")
    except (ParseError, ValueError, LookupError) as error:  # entities are a ValueError, strange encodings all three
        raise WeightsError(f"{path} is damaged or cut short: {error}; export it again") from error
    if entry is None:
        raise foreign(path)
    noted = SHA256_IN_XML.search(text)
    if noted is None or noted[2].decode() != openvino_digest(path, text):
        raise damaged(path)
    return str(entry.get("value"))


def openvino_digest(path: Path, text: bytes) -> str:
    sha256 = hashlib.sha256(SHA256_IN_XML.sub(rb"\g<1>" + ZEROS.encode() + rb"\3", text))
    weights = path.with_suffix(".bin")
    if size_of(weights) > LARGEST_FILE:
        raise WeightsError(f"{weights} has {size_of(weights)} bytes; up to {LARGEST_FILE} are read")
    with weights.open("rb") as file:
        while content := file.read(CHUNK):
            sha256.update(content)
    return sha256.hexdigest()


def foreign(path: Path) -> WeightsError:
    return WeightsError(f"{path} was not written by `mbseg export`, which says how a file is to be used")


def damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} is damaged: its content does not have the SHA-256 it was written with; export it again"
    )
