"""`mbseg benchmark`."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from mbseg.errors import ConfigError
from mbseg.output import AsJson, print_json


def benchmark(
    part: Literal["all", "training", "class-map"] = "all",
    /,
    *,
    crops: tuple[int, ...] = (257, 513),
    batch_size: int = 8,
    seconds: float = 60.0,
    weights: Path | None = None,
    picture: Path | None = None,
    json: AsJson = False,
) -> None:
    """Measure mbseg against torchvision on this machine: one run, taking turns, medians and their ratios.

    Parameters
    ----------
    part
        training: steps on synthetic batches; class-map: upsampling and arg-max.
    crops
        Heights (and widths) of the training pictures.
    batch_size
        Pictures a training step.
    seconds
        For each comparison, at least five turns.
    weights
        For class-map, beside noise: a trained network's weights, to be run on PICTURE.
    picture
        A picture of your own.
    """
    if (weights is None) != (picture is None):
        raise ConfigError("--weights and --picture go together: trained logits need both")
    if batch_size < 2 or min(crops) < 33:
        raise ConfigError(f"batch size {batch_size}, crops {list(crops)}: 2 pictures of 33 pixels are the least")
    import torch

    from mbseg import benchmark as runs

    comparisons = []
    if part in ("all", "training"):
        comparisons += [runs.training_speed(crop, batch_size, seconds=seconds) for crop in crops]
    if part in ("all", "class-map"):
        size = (513, 513)
        logits = {"noise": runs.noise_logits(size)}
        if weights and picture:
            logits = {f"{weights.name} on {picture.name}": runs.trained_logits(weights, picture, size), **logits}
        threads = dict.fromkeys((torch.get_num_threads(), 1))
        comparisons += [
            runs.class_map_speed(values, size, what, seconds=min(seconds, 10.0), threads=count)
            for what, values in logits.items()
            for count in threads
        ]
    if json:
        print_json({"comparisons": [{**asdict(one), "ratios": one.ratios} for one in comparisons]})
    else:
        print(runs.comparisons_text(comparisons))
