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
    """mIoU, pixel accuracy and every class's IoU."""
    lines = [f"mIoU            {scores['miou']:.4f}", f"pixel accuracy  {scores['pixel_accuracy']:.4f}"]
    width = max(len(name) for name in scores["per_class"])
    lines += [f"  {name:<{width}}  {iou:.4f}" for name, iou in scores["per_class"].items()]
    if scores["absent"]:
        lines.append(f"  not in this split, and so not in the mean: {', '.join(scores['absent'])}")
    return "\n".join(lines)


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
