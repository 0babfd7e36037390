"""A shard of a huge prediction: what is missing is answered, and what is done is left as it is."""

import hashlib
import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import torch

from mbseg.errors import ConfigError, DataError, RunError
from mbseg.exported_models import is_exported
from mbseg.prediction.manifest import LONGEST_LINE, Facts, Header, Record, Shard, differences, header_from, shard_of
from mbseg.prediction.open_manifest import OpenManifest, open_manifest
from mbseg.prediction.picture_list import PictureList, find_pictures, is_passing, sha256_if_there, sha256_of
from mbseg.prediction.predicting import Answerer, check_place, left_out, write_answers
from mbseg.predictors import Loaded, load_predictor, names
from mbseg.runtime.names import Backend, Precision
from mbseg.targets import WEIGHTS_SUFFIX
from mbseg.video.outputs import make_folder

logger = logging.getLogger(__name__)

LIBRARIES = ("mbseg", "torch", "numpy", "PIL")  # those that decode, compute and encode, whatever the engine


@dataclass(frozen=True)
class Job:
    """What is to be predicted, and how; shards are parts of it."""

    weights: str
    pictures: Path
    output: Path
    overrides: tuple[str, ...] = ()
    backend: Backend = "auto"
    precision: Precision = "fp32"
    least_score: float | None = None
    recursive: bool = False

    @property
    def command(self) -> str:
        """What makes a shard, but for its number."""
        words = ["mbseg", "predict", self.weights, str(self.pictures), str(self.output), *self.overrides]
        words += [] if self.backend == "auto" else ["--backend", self.backend]
        words += [] if self.precision == "fp32" else ["--precision", self.precision]
        words += [] if self.least_score is None else ["--least-score", str(self.least_score)]
        return shlex.join([*words, *(["--recursive"] if self.recursive else [])])


def run_shard(job: Job, shard: Shard, *, anew: bool = False) -> Iterator[Record]:
    """The lines of what is answered now, see `predict_shard`. Everything is checked before the first one.

    Raises ConfigError, WeightsError, DataError and RunError.
    """
    if not (job.weights.endswith(WEIGHTS_SUFFIX) or is_exported(job.weights) or Path(job.weights).is_dir()):
        raise ConfigError(f"--shard needs weights that carry their config, which {job.weights} does not; name those")
    pictures = find_pictures(job.pictures, recursive=job.recursive)
    check_place(job.output, pictures)
    loaded = load_predictor(
        job.weights,
        job.overrides,
        run=Path(),
        backend=job.backend,
        precision=job.precision,
        least_score=job.least_score,
    )
    header = Header(facts_of(job, pictures, loaded), job.command)
    check_folder(job.output, shard, header.facts)
    answerer = Answerer(loaded.predictor, *names(loaded))
    return predict_shard(answerer, pictures, job.output, shard, header, anew=anew)


def facts_of(job: Job, pictures: PictureList, loaded: Loaded) -> Facts:
    """What answers depend on: it must be the same for all shards, on all machines."""
    engine = loaded.predictor.description  # with its threads, which change torch's last bits
    libraries = (*LIBRARIES, *(name for name in ("onnxruntime", "openvino") if engine.startswith(name)))
    return {
        "pictures": len(pictures.names),
        "pictures_sha256": sha256_of(pictures.names),
        "weights_sha256": sha256_if_there(Path(loaded.origin)),
        "overrides": shlex.join(each for each in job.overrides if not each.startswith("threads=")),  # see the engine
        "least_score": job.least_score,
        "engine": engine,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "opencv": cv2.__version__,
        **{name: import_module(name).__version__ for name in libraries},  # distributions have other names
    }


def check_folder(output: Path, shard: Shard, facts: Facts) -> None:
    """Raises RunError for a folder that holds something else than shards of the same prediction."""
    is_used = output.is_dir() and any(not path.name.startswith(".") for path in output.iterdir())
    manifests = [(path, other) for path in sorted(output.glob("manifest-*")) if (other := shard_of(path.name))]
    if is_used and not manifests:  # a shard's manifest is there before its first answer
        raise RunError(f"{output} is there already, and holds no shards; name another folder")
    for path, other in manifests:
        if other.total != shard.total:
            raise RunError(f"{path} is one of {other.total} shards, not of {shard.total}; name another folder")
        if other != shard:
            check_facts(path, facts)


def check_facts(path: Path, facts: Facts) -> None:
    """Raises RunError for the manifest of a shard that was begun in another way."""
    with path.open("rb") as file:
        header = header_from(file.readline(LONGEST_LINE))
    if header and (different := differences(header.facts, facts)):
        raise RunError(f"{path} was begun with {different}; make all shards in the same way, or name another folder")


def predict_shard(
    answerer: Answerer, pictures: PictureList, output: Path, shard: Shard, header: Header, *, anew: bool
) -> Iterator[Record]:
    """The lines of what is answered now; what an earlier run has finished is checked by its SHA-256, and left.

    Raises RunError for a shard that another process is at, or that was begun in another way (unless it is to be begun
    `anew`), and DataError for a picture that has changed, or, when all else is done, for those that cannot be read.
    """
    own, faulty, done = shard.own(pictures.names), [], 0
    make_folder(output)
    with open_manifest(output / shard.manifest, header, anew=anew) as manifest:
        for picture in own:
            known = manifest.known(picture)
            record = known if known and is_done(known, pictures.folder, output) else None
            if record:
                done += 1
            else:
                record = answered(answerer, pictures.folder, picture, output)
                note(manifest, known, record)
                yield record
            if record.fault:
                faulty.append(picture)
        manifest.finish()
    logger.info("shard %s is whole: %d pictures, %d of them done before", shard, len(own), done)
    if faulty:
        raise left_out(faulty, len(own))


def is_done(known: Record, folder: Path, output: Path) -> bool:
    """Raises DataError for a picture that is not what it was."""
    if sha256_if_there(folder / known.picture) != known.picture_sha256:
        raise DataError(
            f"{folder / known.picture} has changed since it was answered; --overwrite begins the shard anew"
        )
    return all(sha256_if_there(output / name) == sha256 for name, sha256 in known.files.items())


def answered(answerer: Answerer, folder: Path, picture: str, output: Path) -> Record:
    """With its files in place. Raises DataError and RunError for what is no fault of the picture: it is not noted."""
    sha256 = sha256_if_there(folder / picture)
    try:
        contents, found = answerer(folder, picture)
    except DataError as error:
        if is_passing(error.__cause__):
            raise DataError(f"{error}; run it again") from error
        logger.warning("%s; it is left out", error)
        return Record(picture, sha256, {}, "", str(error).removeprefix(f"{folder / picture}: "))
    write_answers(output, contents)
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    return Record(picture, sha256, files, found, "")


def note(manifest: OpenManifest, known: Record | None, record: Record) -> None:
    """Raises RunError where a lost answer does not come out the same."""
    if known is None:
        manifest.append(record)
    elif record != known:
        raise RunError(f"the answer for {record.picture} is not the one in {manifest.path}; --overwrite begins it anew")
