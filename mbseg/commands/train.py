"""`mbseg train`."""

from pathlib import Path

from mbseg.config.load import load_experiment
from mbseg.output import AsJson, Overrides, print_result, scores_text


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
    print_result(result, f"{scores_text(result)}\nbest weights    {result['weights']}", as_json=json)


def default_folder(config: str) -> Path:
    """runs/NAME: of a shipped config with its folder, runs/voc/NAME; of any other file its stem."""
    path = Path(config)
    path = path.with_suffix("") if path.name else path
    if "configs" in path.parts:
        return Path("runs", *path.parts[path.parts.index("configs") + 1 :])
    return Path("runs", path.name if Path(config).is_file() else path)
