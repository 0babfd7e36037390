"""Ten seconds of real work on drawn pictures, step by step; each gives a sentence, or raises what went wrong."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

from mbseg import build
from mbseg.config.load import make_experiment, to_yaml
from mbseg.config.schema import Experiment
from mbseg.data.shapes import draw_shapes
from mbseg.engine.checkpoint import Checkpoint, load_checkpoint
from mbseg.engine.device import best_device
from mbseg.engine.distributed import Place
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import MbsegError
from mbseg.evaluation import evaluate
from mbseg.models.class_map import class_map
from mbseg.training import make_trainer, train

CPU = torch.device("cpu")
SIZE = 64
STEPS_OF_TRAINING = 4
TOLERANCE = 0.05  # of the largest logit; TF32 and other fast arithmetic may be on


class SelfTestError(MbsegError):
    """This machine computes something else than it should."""


def compare_class_maps(_scratch: Path) -> str:
    """numba compiles the kernel here. Logits that are small integers make the arithmetic exact."""
    logits = torch.randint(-2, 3, (1, 21, 33, 33), generator=torch.Generator().manual_seed(0)).float()
    size = (8 * 33, 8 * 33)
    plain = functional.interpolate(logits, size, mode="bilinear").argmax(1)
    if different := int((class_map(logits, size) != plain).sum()):
        raise SelfTestError(f"class_map differs from interpolation and arg-max in {different} pixels")
    return "the compiled kernel gives the map of interpolation and arg-max"


def train_a_little(scratch: Path) -> str:
    """Keeps a copy of the run folder as a power cut before the last checkpoint would leave it."""
    draw_shapes(scratch / "shapes", train=8, val=4, size=(SIZE, SIZE))
    experiment, folder = small_experiment(scratch), RunFolder(scratch / "run")
    trainer = make_trainer(experiment, folder, CPU, Place(), pretrained=True)
    folder.make()
    folder.config.write_text(to_yaml(experiment))

    def cut(step: int) -> None:
        if step == STEPS_OF_TRAINING:
            shutil.copytree(folder.path, scratch / "cut")

    trainer.hooks = replace(trainer.hooks, draw=cut)
    trainer.fit()
    return f"{STEPS_OF_TRAINING} steps, 1 loader process, checkpoints and best weights"


def resume_to_the_same_bits(scratch: Path) -> str:
    stitched = RunFolder(scratch / "cut")
    begun = load_checkpoint(stitched.last).step
    train(small_experiment(scratch), stitched, resume=True)
    whole, resumed = (tensors(load_checkpoint(folder / "last.pt")) for folder in (scratch / "run", stitched.path))
    if different := [name for name, tensor in whole.items() if not torch.equal(tensor, resumed[name])]:
        raise SelfTestError(f"resumed at step {begun}, the training ends with other weights ({different[0]})")
    return f"resumed at step {begun}, the training ends with the same bits"


def evaluate_the_best(scratch: Path) -> str:
    folder = RunFolder(scratch / "run")
    during = max(line["miou"] for line in folder.evaluations())
    after = evaluate(str(folder.best), ("device=cpu",), weights=None, run=folder.path)["miou"]
    if during != after:
        raise SelfTestError(f"the weights scored {during} during the training, and {after} when loaded")
    return "the weights that are loaded score what they scored during the training"


def use_the_accelerator(scratch: Path) -> str:
    """Its logits beside the CPU's."""
    name = best_device()
    if name == "cpu":
        return "the CPU is the fastest device"
    model = build.load(scratch / "run" / "best.safetensors").eval()
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(images)
        computed = model.to(name)(images.to(name)).cpu()
    if (computed - expected).abs().max() > TOLERANCE * expected.abs().max():
        raise SelfTestError(f"{name} computes other logits than the CPU")
    return f"{name} computes the CPU's logits"


STEPS: Mapping[str, Callable[[Path], str]] = {
    "class map": compare_class_maps,
    "training": train_a_little,
    "resuming": resume_to_the_same_bits,
    "evaluation": evaluate_the_best,
    "device": use_the_accelerator,
}


def small_experiment(scratch: Path) -> Experiment:
    """In fp32 on the CPU, where equal work gives equal bits."""
    tree = {
        "device": "cpu",
        "model": {
            "backbone": {"name": "mobilenet_v2", "width_mult": 0.35},
            "output_stride": 16,
            "head": {"kind": "lraspp", "channels": 16},
        },
        "data": {"kind": "shapes", "root": str(scratch / "shapes"), "crop_size": [SIZE, SIZE], "workers": 1},
        "train": {
            "steps": STEPS_OF_TRAINING,
            "batch_size": 4,
            "evaluate_every": 2,
            "precision": "fp32",
            "ema_decay": 0.9,
            "samples": 0,
        },
    }
    return make_experiment(tree, source="the self-test")


def tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    averaged = checkpoint.average["state"] if checkpoint.average else {}
    return {**checkpoint.model, **{f"average of {name}": tensor for name, tensor in averaged.items()}}
