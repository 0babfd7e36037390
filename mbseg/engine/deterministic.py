"""The same bits from the same training, for those who ask for it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mbseg.errors import RunError

logger = logging.getLogger(__name__)

LACKS = " does not have a deterministic implementation"  # so torch says
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # without it, cuBLAS sums in an order of its own


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within, if `wanted`, no operation may give other bits when it is done again.

    Raises RunError for one that would.
    """
    if not wanted:
        yield
        return
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )
    os.environ.setdefault(CUBLAS, ":4096:8")  # read when CUDA begins
    use(enabled=True, warn_only=False, cudnn=True, benchmark=False)
    logger.info(
        "deterministic: equal bits take the same machine, precision and number of processes, and %d threads",
        torch.get_num_threads(),
    )
    try:
        yield
    except RuntimeError as error:
        operation, lacks, _ = str(error).partition(LACKS)
        if not lacks:
            raise
        raise RunError(f"train.deterministic: {operation} may give other bits each time; leave it off here") from None
    finally:
        use(*before)


def use(enabled: bool, warn_only: bool, cudnn: bool, benchmark: bool) -> None:
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
    torch.backends.cudnn.deterministic = cudnn
    torch.backends.cudnn.benchmark = benchmark
