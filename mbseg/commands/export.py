"""`mbseg export`."""

from pathlib import Path
from typing import Any, Literal

from mbseg.commands.train import default_folder
from mbseg.output import AsJson, Overrides, print_result


def export(
    weights: str,
    /,
    *overrides: Overrides,
    format: Literal["onnx", "openvino", "executorch", "litert"],  # noqa: A002
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    output: Path | None = None,
    size: tuple[int, int] | None = None,
    least_score: float | None = None,
    pictures: Path | None = None,
    calibration: int | None = None,
    overwrite: bool = False,
    json: AsJson = False,
) -> None:
    """Write one file that takes uint8 RGB frames and gives the class map or the boxes, checked against PyTorch.

    Parameters
    ----------
    weights
        A weights file, which carries its config; or a config or run folder, whose best weights are taken.
    format
        onnx (one .onnx), openvino (.xml and .bin), or for phones executorch (.pte) or litert (.tflite).
    precision
        Of the network; ONNX has no bf16, ExecuTorch and LiteRT have fp32 alone.
    output
        The file; beside the weights if not given.
    size
        Height and width of the frames, if the file is to take no others; ExecuTorch and LiteRT files take no others.
    least_score
        Of detection: leave out boxes below it; as in the config if not given.
    pictures
        A folder of pictures on which to compare with PyTorch; some of data.val if not given.
    calibration
        How many pictures of data.train int8 is calibrated on; 40 if not given.
    overwrite
        Replace the file if there is one.
    """
    from mbseg.exporting import Wanted
    from mbseg.exporting import export as run

    wanted = Wanted(
        file_format=format,
        precision=precision,
        size=size,
        output=output,
        overwrite=overwrite,
        least_score=least_score,
        pictures=pictures,
        calibration=calibration,
    )
    result = run(weights, overrides, wanted, run=default_folder(weights))
    print_result(result, text(result), as_json=json)


def text(result: dict[str, Any]) -> str:
    """What a reader wants to know of a file."""
    size = "frames of any size" if result["input_size"] is None else "frames of {} x {}".format(*result["input_size"])
    agreement = ", ".join(f"{share:.2%} of its {what}" for what, share in result["agreement"].items())
    lines = [
        f"written         {result['file']}, {result['megabytes']:.1f} MB, {result['params'] / 1e6:.3f} M params",
        f"takes           {size}, uint8 RGB; {result['format']} in {result['precision']}",
        f"like PyTorch    {agreement}, in {result['compared']} pictures",
    ]
    if scores := result.get("scores"):
        lines.append(
            f"{scores['score']:<15} {scores['before']:.4f} in fp32, {scores['after']:.4f} in int8, "
            f"over {scores['images']} pictures of {scores['split']}"
        )
    return "\n".join([*lines, f"sha256          {result['sha256']}"])
