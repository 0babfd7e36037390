"""`mbseg benchmark`."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from mbseg.commands.train import default_folder
from mbseg.errors import ConfigError
from mbseg.output import AsJson, print_json

LONGEST = 3600.0  # seconds


def benchmark(
    part: Literal["all", "training", "class-map", "frames", "detection", "joint", "coco-ap", "video"] = "all",
    /,
    *,
    crops: tuple[int, ...] = (257, 513),
    batch_size: int = 8,
    seconds: float = 60.0,
    weights: Path | None = None,
    picture: Path | None = None,
    exported: tuple[Path, ...] = (),
    source: str | None = None,
    pictures: int = 5000,
    json: AsJson = False,
) -> None:
    """Measure mbseg against torchvision and pycocotools on this machine: taking turns in one run, medians and ratios.

    Parameters
    ----------
    part
        training: steps on synthetic batches; class-map: upsampling and arg-max; frames: from a frame to its class map
        in every engine; detection: SSDLite with the same weights as torchvision's, raw predictions and from a picture
        to its boxes; joint: one model with two heads beside two models; coco-ap: COCO's figures of a drawn split;
        video: WEIGHTS at work on SOURCE, stages overlapped, beside one after the other and the bound of both.
    crops
        Heights (and widths) of the training pictures.
    batch_size
        Pictures a training step.
    seconds
        For each comparison, at least five turns; class-map has 10 at most, and coco-ap three turns however long.
    weights
        For class-map, beside noise: a trained network's weights, to be run on PICTURE; for frames instead of random
        ones. For video: any model.
    picture
        A picture of your own.
    exported
        For frames: files that WEIGHTS were exported to, such as in int8.
    source
        For video: a video, or a folder of pictures.
    pictures
        In the split that coco-ap draws; with 5000, pycocotools takes about a minute for a turn.
    """
    if part != "video" and (weights is None) != (picture is None):
        raise ConfigError("--weights and --picture go together: trained logits need both")
    if exported and weights is None:
        raise ConfigError("--exported goes with the --weights that were exported, and --picture")
    if batch_size < 2 or min(crops) < 33:
        raise ConfigError(f"batch size {batch_size}, crops {list(crops)}: 2 pictures of 33 pixels are the least")
    if not 0 < seconds <= LONGEST:
        raise ConfigError(f"--seconds is {seconds:g}; it must be above 0, and {LONGEST:g} at most")
    if pictures < 1:
        raise ConfigError(f"--pictures is {pictures}; it must be 1 or more")
    if part == "video":
        video(weights, source, seconds=seconds, json=json)
        return
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
    if part in ("all", "frames"):
        from mbseg.benchmarks.frames import frame_speeds

        comparisons += frame_speeds(weights, picture, exported, seconds=seconds, threads=threads)
    if part in ("all", "detection"):
        from mbseg.benchmarks.detection import detection_speeds

        comparisons += detection_speeds(seconds=seconds, threads=threads)
    if part in ("all", "joint"):
        from mbseg.benchmarks.joint import joint_speeds

        comparisons += joint_speeds(seconds=seconds, threads=threads)
    if part in ("all", "coco-ap"):
        from mbseg.benchmarks.coco_ap import coco_ap_speed

        comparisons.append(coco_ap_speed(pictures))
    if json:
        print_json({"comparisons": [{**asdict(one), "ratios": one.ratios} for one in comparisons]})
    else:
        print(comparisons_text(comparisons))


def video(weights: Path | None, source: str | None, *, seconds: float, json: bool) -> None:
    """`mbseg benchmark video`."""
    if weights is None or source is None:
        raise ConfigError("benchmark video needs a model and something to show it: --weights and --source")
    from mbseg.benchmarks.video import video_speed
    from mbseg.predictors import load_predictor

    run = default_folder(str(weights))
    speed = video_speed(lambda size: load_predictor(str(weights), run=run, frame_size=size), source, seconds=seconds)
    if json:
        print_json(speed.as_json())
    else:
        print(speed.text())
