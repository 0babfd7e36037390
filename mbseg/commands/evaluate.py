"""`mbseg evaluate`."""

from pathlib import Path

from mbseg.commands.output import AsJson, Overrides, print_json, scores_text
from mbseg.commands.train import default_folder


def evaluate(target: str, /, *overrides: Overrides, weights: Path | None = None, json: AsJson = False) -> None:
    """Score weights on the validation split: mIoU, IoU of each class, pixel accuracy.

    Parameters
    ----------
    target
        A weights file, which carries its config, or a config.
    weights
        The weights to use with a config (best.safetensors of its run folder if not given; last.pt works too).
    """
    from mbseg.evaluation import evaluate as run

    result = run(target, overrides, weights=weights, run=default_folder(target))
    if json:
        print_json(result)
        return
    height, width = result["image_size"]
    print(scores_text(result))
    print(f"protocol        {result['images']} pictures, {result['protocol']}")
    params, madds = result["params"] / 1e6, result["madds"] / 1e9
    print(f"cost            {params:.3f} M params, {madds:.3f} B madds at {height} x {width}")
