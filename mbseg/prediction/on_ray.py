"""Shards as tasks of a Ray cluster, whose machines see the same folders."""

import importlib
import logging
import os
import sys
from contextlib import redirect_stdout
from typing import Any

from mbseg.errors import ConfigError, MbsegError
from mbseg.prediction.manifest import Shard
from mbseg.prediction.merging import Merged, merge
from mbseg.prediction.sharding import Job, run_shard

logger = logging.getLogger(__name__)

RETRIES = 5  # of a shard whose worker or machine is lost


def predict_on_ray(job: Job, shards: int, address: str | None, *, cores: int = 1) -> Merged:
    """Makes `shards` shards, each on so many `cores`, and merges them; without an address, on this machine.

    What a lost worker has finished is kept: whoever takes its shard over goes on there. Raises ConfigError without Ray,
    and what `merge` raises.
    """
    ray = quiet_ray()
    with redirect_stdout(sys.stderr):  # Ray prints what it thinks of lost workers
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False)
        try:
            task = ray.remote(num_cpus=cores, max_retries=RETRIES)(make_shard)
            waiting = {task.remote(job, Shard(number, shards)): number for number in range(1, shards + 1)}
            while waiting:
                (done,), _ = ray.wait(list(waiting))
                logger.info("shard %d/%d: %s", waiting.pop(done), shards, outcome(ray, done))
        finally:
            ray.shutdown()
    return merge([job.output])


def make_shard(job: Job, shard: Shard) -> str:
    """On a worker: what is told of it."""
    try:
        return f"{sum(1 for _ in run_shard(job, shard))} pictures answered"
    except MbsegError as error:
        return str(error)


def outcome(ray: Any, done: Any) -> str:
    """In words; a shard that could not be made is missing when they are merged."""
    try:
        return str(ray.get(done))
    except ray.exceptions.RayError as error:
        return f"lost ({type(error).__name__})"


def quiet_ray() -> Any:
    """The module ray; it would report its use to its makers. Raises ConfigError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ConfigError("ray is not installed; predict-on-ray needs it: pip install 'mbseg[ray]'") from None
