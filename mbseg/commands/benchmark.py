"""`mbseg benchmark`."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from mbseg.errors import ConfigError
from mbseg.output import AsJson, print_json

LONGEST = 3600.0  # seconds


def benchmark(
    part: Literal["all", "training", "class-map", "detection", "coco-ap"] = "all",
    /,
    *,
    crops: tuple[int, ...] = (257, 513),
    batch_size: int = 8,
    seconds: float = 60.0,
    weights: Path | None = None,
    picture: Path | None = None,
    pictures: int = 5000,
    json: AsJson = False,
) -> None:
    """Measure mbseg against torchvision and pycocotools on this machine: taking turns in one run, medians and ratios.

    Parameters
    ----------
    part
        training: steps on synthetic batches; class-map: upsampling and arg-max; detection: SSDLite with the same
        weights as torchvision's, raw predictions and from a picture to its boxes; coco-ap: COCO's figures of a drawn
        split.
    crops
        Heights (and widths) of the training pictures.
    batch_size
        Pictures a training step.
    seconds
        For each comparison, at least five turns; class-map has 10 at most, and coco-ap three turns however long.
    weights
        For class-map, beside noise: a trained network's weights, to be run on PICTURE.
    picture
        A picture of your own.
    pictures
        In the split that coco-ap draws; with 5000, pycocotools takes about a minute for a turn.
    """
    if (weights is None) != (picture is None):
        raise ConfigError("--weights and --picture go together: trained logits need both")
    if batch_size < 2 or min(crops) < 33:
        raise ConfigError(f"batch size {batch_size}, crops {list(crops)}: 2 pictures of 33 pixels are the least")
    if not 0 < seconds <= LONGEST:
        raise ConfigError(f"--seconds is {seconds:g}; it must be above 0, and {LONGEST:g} at most")
    if pictures < 1:
        raise ConfigError(f"--pictures is {pictures}; it must be 1 or more")
    import torch

    from mbseg.benchmarks.comparison import comparisons_text

    comparisons = []
    threads = tuple(dict.fromkeys((torch.get_num_threads(), 1)))
    if part in ("all", "training"):
        from mbseg.benchmarks.training import training_speed

        comparisons += [training_speed(crop, batch_size, seconds=seconds) for crop in crops]
    if part in ("all", "class-map"):
        from mbseg.benchmarks.class_map import class_map_speeds

        comparisons += class_map_speeds(weights, picture, seconds=min(seconds, 10.0), threads=threads)
    if part in ("all", "detection"):
        from mbseg.benchmarks.detection import detection_speeds

        comparisons += detection_speeds(seconds=seconds, threads=threads)
    if part in ("all", "coco-ap"):
        from mbseg.benchmarks.coco_ap import coco_ap_speed

        comparisons.append(coco_ap_speed(pictures))
    if json:
        print_json({"comparisons": [{**asdict(one), "ratios": one.ratios} for one in comparisons]})
    else:
        print(comparisons_text(comparisons))
