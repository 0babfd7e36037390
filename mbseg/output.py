"""Results on stdout: for a reader, or as one JSON object."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import Parameter

AsJson = Annotated[bool, Parameter(name="--json", help="Print one JSON object and nothing else on stdout.")]
Overrides = Annotated[str, Parameter(help="Keys of the config laid over it, such as train.batch_size=8.")]

SEGMENTATION_FIGURES = {"miou": "mIoU", "boundary_iou": "Boundary IoU", "pixel_accuracy": "pixel accuracy"}
DETECTION_FIGURES = {
    "ap": "COCO AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
    "ar1": "AR 1",
    "ar10": "AR 10",
    "ar100": "AR 100",
    "ar_small": "AR small",
    "ar_medium": "AR medium",
    "ar_large": "AR large",
    "voc_map": "VOC mAP@0.5",
    "voc07_map": "VOC07 mAP@0.5",
}


def print_result(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Of several processes, the first one speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        print_json(result)
    else:
        print(text)


def print_json(result: dict[str, Any]) -> None:
    print(json.dumps(result, allow_nan=False))


def scores_text(scores: dict[str, Any]) -> str:
    """What a reader wants to know: the figures, then every class. Runs of older versions lack Boundary IoU."""
    named = {"joint_score": "joint score"} | SEGMENTATION_FIGURES | DETECTION_FIGURES
    lines = [f"{name:<15} {shown(scores[key])}" for key, name in named.items() if key in scores]
    lines += class_table(scores)
    if scores["absent"]:
        lines.append(f"  not in this split, and so not in the mean: {', '.join(scores['absent'])}")
    return "\n".join(lines)


def class_table(scores: dict[str, Any]) -> list[str]:
    """A line a class: its IoU and Boundary IoU, its COCO AP, or all of them; the background has no AP."""
    columns = {"IoU" if "miou" in scores else "COCO AP": scores["per_class"]}
    others = {"Boundary IoU": "per_class_boundary_iou", "COCO AP": "per_class_ap"}
    columns |= {heading: scores[key] for heading, key in others.items() if key in scores}
    lines = [f"{' and '.join(columns)} of each class"]
    width = max(len(name) for name in scores["per_class"])
    for name in scores["per_class"]:
        figures = "  ".join(f"{column[name]:.4f}" if name in column else "     -" for column in columns.values())
        lines.append(f"  {name:<{width}}  {figures}")
    return lines


def shown(value: float | None) -> str:
    """COCO's figures of a size are None where the split has no object of it."""
    return "none of this size" if value is None else f"{value:.4f}"


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr for work that reports (what, done, total)."""
    from tqdm import tqdm

    with tqdm(disable=None, file=sys.stderr, unit_scale=True) as bar:
        if bar.disable:  # no terminal
            yield lambda _what, _done, _total: None
            return

        def report(what: str, done: int, total: int | None) -> None:
            if bar.desc != f"{what}: " or bar.total != total:
                bar.reset(total)
                bar.set_description(what)
            bar.update(done - bar.n)

        yield report
