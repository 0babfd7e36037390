"""From nothing to a trained model and a page that shows it, on drawn pictures; nothing is done twice."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbseg import build
from mbseg.analysis.profile import profile
from mbseg.analysis.report import cost_summary
from mbseg.config.load import load_experiment
from mbseg.data.prepare import prepare
from mbseg.data.reading import read_image
from mbseg.engine.run_folder import RunFolder
from mbseg.evaluation import evaluate
from mbseg.files import write_atomically
from mbseg.output import progress_bar, scores_text
from mbseg.training import train, write_picture
from mbseg.video.overlay import grid

SHEET = "overlays.jpg"
SEEN = {  # side by side in the sheet
    "segmentation": "Picture, truth, prediction",
    "detection": "Truth, prediction",
    "joint": "Picture, truth, prediction",
}


def quickstart(config: str, run: Path, overrides: Sequence[str]) -> str:
    """Draws the data, trains, evaluates, profiles and writes `report.md`; gives what it says, and where all is."""
    experiment = load_experiment(config, overrides)
    folder = RunFolder(run)
    if not folder.result.exists():
        say(f"1/4 drawing {experiment.data.root}")
        with progress_bar() as progress:
            prepare(experiment.data.kind, experiment.data.root, progress=progress)
        say(f"2/4 training into {run} (interrupt it whenever you like: the next call goes on)")
    trained = train(experiment, folder, resume=True)
    scores = evaluated(folder)
    say("4/4 counting costs, writing the report")
    size = experiment.data.crop_size if experiment.task == "segmentation" else experiment.model.image_size
    cost = cost_summary(profile(build.load(folder.best), image_size=size))
    draw_sheet(folder)
    write_atomically(run / "report.md", report(folder, trained, scores, cost, SEEN[experiment.task]).encode())
    return f"{scores_text(scores)}\n\n{cost}\n\n{places(folder)}"


def evaluated(folder: RunFolder) -> dict[str, Any]:
    """The scores of the best weights, computed once."""
    file = folder.path / "evaluation.json"
    if not file.exists() or file.stat().st_mtime < folder.best.stat().st_mtime:
        say(f"3/4 evaluating {folder.best}")
        scores = evaluate(str(folder.best), (), weights=None, run=folder.path)
        write_atomically(file, (json.dumps(scores, indent=2) + "\n").encode())
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def report(folder: RunFolder, trained: dict[str, Any], scores: dict[str, Any], cost: str, seen: str) -> str:
    """One Markdown page with its pictures; `seen` tells what stands beside what in the sheet."""
    return f"""# Quickstart

{trained["step"]} steps on drawn pictures in {trained["seconds"] / 60:.1f} minutes; scores are fractions of 1.

```
{scores_text(scores)}
```

Protocol: {scores["images"]} pictures, {scores["protocol"]}.

## What it costs

```
{cost}
```

## How it learned

![learning curve]({folder.curve.name})

## What it sees

{seen}:

![{seen.lower()} of some scenes]({SHEET})
"""


def draw_sheet(folder: RunFolder) -> None:
    """The pictures of the last evaluation on one sheet."""
    pictures = sorted(folder.samples.glob("*.jpg"))
    last = [picture for picture in pictures if picture.name[:6] == pictures[-1].name[:6]]
    write_picture(folder.path / SHEET, grid([read_image(picture) for picture in last], columns=2))


def places(folder: RunFolder) -> str:
    run = folder.path
    return "\n".join(
        [
            f"report          {run / 'report.md'}",
            f"weights         {folder.best}",
            f"pictures        {run / SHEET}, and of every evaluation in {folder.samples}/",
            f"curve           {folder.curve}",
            f"try             mbseg profile {folder.best} --latency",
        ]
    )


def say(text: str) -> None:
    print(text, file=sys.stderr)
