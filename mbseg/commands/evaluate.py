"""`mbseg evaluate`."""

from pathlib import Path

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

    A segmenter's mIoU, IoU of each class and pixel accuracy; a detector's COCO AP with its twelve figures, AP of each
    class, and VOC mAP.

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
    if judge:
        judged = ", ".join(f"{name} {shown(value)}" for name, value in result["pycocotools"].items())
        text.append(f"pycocotools     {judged}")
    print_result(result, "\n".join(text), as_json=json)
