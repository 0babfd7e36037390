"""`mbseg import-weights`."""

from collections import Counter
from pathlib import Path
from typing import Any

from mbseg.output import AsJson, Overrides, print_result


def import_weights(
    source: str, output: Path, /, *overrides: Overrides, weights: Path | None = None, json: AsJson = False
) -> None:
    """Bring weights of another library or format into a file that evaluate, profile and demo take with no config.

    A classifier gives a backbone to start a training from (model.backbone.weights=OUTPUT).

    Parameters
    ----------
    source
        torchvision:NAME, timm:NAME, or a file: .tflite (float or 8-bit), .pb (frozen graph), .pth, .pt, .safetensors.
    output
        The weights file to write (.safetensors).
    weights
        A local file with the weights of torchvision:NAME or timm:NAME, in place of a download.
    """
    from mbseg.importing import import_weights as run

    result = run(source, output, overrides, weights=weights)
    print_result(result, report_text(result), as_json=json)


def report_text(result: dict[str, Any]) -> str:
    """What became of every key, and how the file is used."""
    groups = Counter(key.partition(".")[0] for key in result["loaded"])
    loaded = ", ".join(f"{count} of the {group}" for group, count in groups.items())
    lines = [f"{result['origin']} -> {result['output']}", f"loaded   {len(result['loaded'])} tensors: {loaded}"]
    for why, keys in by_reason(result["ignored"]).items():
        shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
        lines.append(f"ignored  {len(keys)}: {shown} ({why})")
    return "\n".join([*lines, f"use      {usage(result)}"])


def by_reason(ignored: dict[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for key, why in ignored.items():
        reasons.setdefault(why, []).append(key)
    return reasons


def usage(result: dict[str, Any]) -> str:
    if result["kind"] == "model":
        return f"mbseg demo {result['output']} --source FILE, mbseg evaluate {result['output']} data.root=DIR"
    keys = " ".join(f"model.backbone.{key}={value}" for key, value in result["model"]["backbone"].items())
    colours = f"data.mean={result['mean']} data.std={result['std']}".replace(", ", ",")
    return f"mbseg train CONFIG model.backbone.weights={result['output']} {keys} {colours}"
