"""`mbseg predict-on-ray`."""

from pathlib import Path

from mbseg.commands.merge import tell
from mbseg.output import AsJson, Overrides
from mbseg.runtime.names import Backend, Precision


def predict_on_ray(
    weights: str,
    pictures: Path,
    output: Path,
    /,
    *overrides: Overrides,
    shards: int,
    address: str | None = None,
    cores: int = 1,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    least_score: float | None = None,
    recursive: bool = False,
    json: AsJson = False,
) -> None:
    """Run the shards of `mbseg predict` on a Ray cluster, whose machines see the same folders, and merge them.

    Run again, it does what is missing.

    Parameters
    ----------
    weights
        A weights file, a run folder, or an exported file.
    pictures
        A folder of pictures.
    output
        A folder for the answers.
    shards
        In how many parts; several for each worker, so that none is long alone.
    address
        The cluster's, or auto for the one that this machine belongs to; without it, one is started on this machine.
    cores
        That a shard takes.
    backend
        As of `mbseg predict`.
    precision
        As of `mbseg predict`.
    least_score
        As of `mbseg predict`.
    recursive
        Take the pictures of subfolders too.
    """
    from mbseg.prediction.on_ray import predict_on_ray as run
    from mbseg.prediction.sharding import Job

    places = (str(Path(weights).resolve()), pictures.resolve(), output.resolve())  # workers start in other folders
    job = Job(*places, overrides, backend, precision, least_score, recursive)
    tell(run(job, shards, address, cores=cores), json=json)
