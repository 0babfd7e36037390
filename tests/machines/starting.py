"""Starts several processes as users do: by torchrun, on one machine or on two that are one."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
AT_MOST = 200  # seconds, on machines that do much else


class Fault(NamedTuple):
    """What befalls a process behind one of its steps, counted from its start."""

    start: int  # 0 the first one, 1 after the first restart
    rank: int
    step: int
    kind: Literal["killed", "told", "data", "disk"]


def torchrun(
    script: Path, *arguments: str, processes: int = 2, faults: Sequence[Fault] = ()
) -> subprocess.CompletedProcess[str]:
    """One machine, with as many restarts as there are faults."""
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(len(faults))]
    return subprocess.run(
        [*command, str(script), *arguments],
        env=environment(faults),
        capture_output=True,
        text=True,
        check=False,
        timeout=AT_MOST,
    )


def two_agents(
    script: Path, *arguments: str, folders: Sequence[Path], faults: Sequence[Fault] = ()
) -> list[subprocess.CompletedProcess[str]]:
    """Two torchruns that find each other on 127.0.0.1, with a process each; every one works in a folder of its own."""
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "test"]
    size = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", str(len(faults))]
    agents = [
        subprocess.Popen(
            [*TORCHRUN, *size, *meeting, "--local-addr", "127.0.0.1", str(script), *arguments],
            cwd=folder,
            env=environment(faults),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    try:
        said = [agent.communicate(timeout=AT_MOST) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    return [
        subprocess.CompletedProcess(agent.args, agent.returncode, *texts)
        for agent, texts in zip(agents, said, strict=True)
    ]


def environment(faults: Sequence[Fault]) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "FAULTS": json.dumps(faults)}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
