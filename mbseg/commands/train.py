"""`mbseg train`."""

from pathlib import Path

from mbseg.commands.output import AsJson, Overrides, print_json, scores_text
from mbseg.config.load import load_experiment


def train(
    config: str, /, *overrides: Overrides, output: Path | None = None, resume: bool = False, json: AsJson = False
) -> None:
    """Train a model; the run folder gets its config, metrics, checkpoint, best weights and sample pictures.

    Parameters
    ----------
    config
        A config file, or the name of a shipped config such as camvid/deeplabv3_mobilenet_v2_os16_none.
    output
        The run folder; runs/NAME if not given.
    resume
        Go on where the run in this folder stopped.
    """
    experiment = load_experiment(config, overrides)
    from mbseg.engine.run_folder import RunFolder
    from mbseg.training import train as run

    result = run(experiment, RunFolder(output or default_folder(config)), resume=resume)
    if json:
        print_json(result)
    else:
        print(f"{scores_text(result)}\nbest weights    {result['weights']}")


def default_folder(config: str) -> Path:
    return Path("runs") / Path(config).stem
