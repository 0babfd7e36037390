"""Random numbers that depend on (seed, step) alone, so that a resumed training draws what it would have drawn."""

import numpy as np
import torch


def seed_step(seed: int, step: int) -> None:
    """Seeds torch's generators (dropout) for one training step."""
    # torch's CPU generator takes 32 bits only: the two numbers must be mixed, not put side by side
    torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))
