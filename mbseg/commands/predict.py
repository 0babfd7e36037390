"""`mbseg predict`."""

from pathlib import Path
from typing import Any

from mbseg.commands.train import default_folder
from mbseg.output import AsJson, Overrides, print_json
from mbseg.runtime.names import Backend, Precision


def predict(
    weights: str,
    pictures: Path,
    output: Path,
    /,
    *overrides: Overrides,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    least_score: float | None = None,
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
    overwrite
        Write into OUTPUT even if it holds something; files of the same name are replaced.
    """
    from mbseg.predicting import Writer, check_output, find_pictures
    from mbseg.predicting import predict as run
    from mbseg.predictors import load_predictor, names

    found = find_pictures(pictures)
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
        for written in run(loaded.predictor, found, Writer(output, *names(loaded))):
            done.append(written._asdict())
            if not json:
                print(f"{written.picture}  {', '.join(written.files)}  {written.found}", flush=True)
    finally:  # what is written is written, though one picture cannot be read
        if json:
            print_json({"pictures": done, "output": str(output), "backend": loaded.predictor.description})
