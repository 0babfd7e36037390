"""`mbseg predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbseg.commands.train import default_folder
from mbseg.output import AsJson, Overrides, print_json
from mbseg.runtime.names import Backend, Precision

if TYPE_CHECKING:
    from mbseg.prediction.sharding import Job


def predict(
    weights: str,
    pictures: Path,
    output: Path,
    /,
    *overrides: Overrides,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    least_score: float | None = None,
    recursive: bool = False,
    shard: str | None = None,
    overwrite: bool = False,
    json: AsJson = False,
) -> None:
    """Write a model's class map or boxes for every picture: palette PNGs, or COCO's JSON.

    Parameters
    ----------
    weights
        A weights file, which carries its config; a config or run folder, whose best weights are taken; or an exported
        file (.onnx, .xml).
    pictures
        A folder of pictures, or one picture.
    output
        A folder: NAME.png with the class of every pixel, NAME.json with the boxes, detections.json with all of them.
    backend
        What runs the network: torch, onnxruntime or openvino; auto is torch, of an exported file the first that can.
    precision
        fp32, or bf16 where the backend has it; an exported file brings its own.
    least_score
        Of detection: leave out boxes below it; 0.5 if not given.
    recursive
        Take the pictures of subfolders too; answers get the same subfolders.
    shard
        Of a huge folder, a part: 3/16 is the third of 16. Run again, it does what is missing; `mbseg merge OUTPUT`
        makes one prediction of all.
    overwrite
        Write into OUTPUT even if it holds something; files of the same name are replaced. A shard is begun anew.
    """
    if shard is not None:
        from mbseg.prediction.sharding import Job

        job = Job(weights, pictures, output, overrides, backend, precision, least_score, recursive)
        predict_shard(job, shard, overwrite=overwrite, json=json)
        return
    from mbseg.prediction.picture_list import find_pictures
    from mbseg.prediction.predicting import Answerer, check_output
    from mbseg.prediction.predicting import predict as run
    from mbseg.predictors import load_predictor, names

    found = find_pictures(pictures, recursive=recursive)
    check_output(output, found, overwrite=overwrite)
    loaded = load_predictor(
        weights,
        overrides,
        run=default_folder(weights),
        backend=backend,
        precision=precision,
        least_score=least_score,
    )
    done: list[dict[str, Any]] = []
    try:
        for written in run(Answerer(loaded.predictor, *names(loaded)), found, output):
            done.append(written._asdict())
            if not json:
                print(f"{written.picture}  {', '.join(written.files)}  {written.found}", flush=True)
    finally:  # what is written is written, though one picture cannot be read
        if json:
            print_json({"pictures": done, "output": str(output), "backend": loaded.predictor.description})


def predict_shard(job: "Job", text: str, *, overwrite: bool, json: bool) -> None:
    """With a line for every picture that is answered now."""
    from mbseg.prediction.manifest import read_shard
    from mbseg.prediction.sharding import run_shard

    shard, answered = read_shard(text), 0
    records = run_shard(job, shard, anew=overwrite)
    try:
        for record in records:
            answered += 1
            if not json:
                print(f"{record.picture}  {', '.join(record.files)}  {record.fault or record.found}", flush=True)
    finally:
        if json:
            print_json({"shard": str(shard), "answered": answered, "manifest": str(job.output / shard.manifest)})
