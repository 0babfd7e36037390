"""`mbseg evaluate`."""

from pathlib import Path
from typing import Any

from mbseg.commands.train import default_folder
from mbseg.output import AsJson, Overrides, print_result, scores_text, shown


def evaluate(
    target: str,
    /,
    *overrides: Overrides,
    weights: Path | None = None,
    predictions: Path | None = None,
    judge: bool = False,
    json: AsJson = False,
) -> None:
    """Score weights on the validation split.

    A segmenter's mIoU, Boundary IoU, both of each class, and pixel accuracy; a detector's COCO AP with its twelve
    figures, AP of each class, and VOC mAP.

    Parameters
    ----------
    target
        A weights file, which carries its config, or a config.
    weights
        The weights to use with a config (best.safetensors of its run folder if not given; last.pt works too).
    predictions
        A file for a detector's boxes, as COCO's results JSON.
    judge
        Score a detector's boxes by pycocotools too, which takes long for many pictures.
    """
    from mbseg.evaluation import evaluate as run

    result = run(target, overrides, weights=weights, run=default_folder(target), predictions=predictions, judge=judge)
    height, width = result["image_size"]
    params, madds = result["params"] / 1e6, result["madds"] / 1e9
    text = [
        scores_text(result),
        f"protocol        {result['images']} pictures, {result['protocol']}",
        f"cost            {params:.3f} M params, {madds:.3f} B madds at {height} x {width}",
    ]
    if predictions:
        text.append(f"predictions     {predictions}")
    if judge:
        text.append(f"pycocotools     {verdict(result)}")
    print_result(result, "\n".join(text), as_json=json)


def verdict(result: dict[str, Any]) -> str:
    """Whether pycocotools' twelve figures are ours, and which are not."""
    judged = result["pycocotools"]
    different = [f"{name} {shown(value)}" for name, value in judged.items() if result[name] != value]
    return f"differs: {', '.join(different)}" if different else f"the same {len(judged)} figures"
