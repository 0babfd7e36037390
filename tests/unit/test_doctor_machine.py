"""`mbseg doctor`: facts of machines are fed and findings asserted; and the facts, from files as Linux writes them."""

import errno
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from mbseg.doctor.findings import ok
from mbseg.doctor.machine import Machine, cpu_quotas, gather_machine, memory_limits
from mbseg.doctor.machine_checks import (
    TorchFacts,
    check_abilities,
    check_accelerators,
    check_cores,
    check_limits,
    check_load,
    check_machine,
    check_memory,
    check_shared_memory,
    check_threads,
    check_torch,
)
from mbseg.doctor.places import Place, check_place, gather_places, look_at
from mbseg.doctor.trying import try_all

GB = 10**9
MACHINE = Machine(
    system="linux",
    cores=8,
    usable_cores=8,
    cpu_quota=None,
    load=0.5,
    thread_settings={},
    memory=32 * GB,
    free_memory=24 * GB,
    memory_limit=None,
    shared_memory=16 * GB,
    limits={"open files": 1024},
)
TORCH = TorchFacts(torch_threads=8, opencv_threads=8, capabilities={"avx2": True}, built_for="CUDA 13.0")


def test_half_a_core_is_told_with_what_to_set() -> None:
    found = check_cores(replace(MACHINE, cpu_quota=0.5))
    assert found.level == "warning"
    assert "0.5 cores" in found.says
    assert "threads=1 and data.workers=1" in found.advice


def test_a_quota_above_the_cores_changes_nothing() -> None:
    assert check_cores(replace(MACHINE, cpu_quota=16.0)).level == "ok"


@pytest.mark.parametrize(
    ("free", "limit", "level"),
    [
        (24 * GB, None, "ok"),
        (24 * GB, 2 * GB, "warning"),
        (2 * GB, None, "warning"),
        (24 * GB, GB // 2, "fault"),
        (GB // 2, 16 * GB, "fault"),
    ],
)
def test_the_scarcer_of_free_and_allowed_memory_counts(free: int, limit: int | None, level: str) -> None:
    assert check_memory(replace(MACHINE, free_memory=free, memory_limit=limit)).level == level


@pytest.mark.parametrize(("free", "level"), [(None, "fault"), (64 * 10**6, "warning"), (GB, "ok")])
def test_loader_processes_need_shared_memory(free: int | None, level: str) -> None:
    found = check_shared_memory(replace(MACHINE, shared_memory=free))
    assert found.level == level
    assert ("--shm-size" in found.advice) == (level != "ok")


def test_a_good_machine_has_nothing_to_mend() -> None:
    assert {finding.level for finding in (*check_machine(MACHINE), *check_torch(TORCH, MACHINE))} == {"ok"}


def test_shared_memory_is_linuxs_affair() -> None:
    elsewhere = replace(MACHINE, system="darwin", shared_memory=None)
    assert {finding.level for finding in check_machine(elsewhere)} == {"ok"}


def test_a_busy_machine_is_a_warning_only() -> None:
    assert check_load(replace(MACHINE, load=9.0)).level == "warning"


@pytest.mark.parametrize(
    ("limits", "level"),
    [
        ({}, "ok"),
        ({"open files": 256}, "warning"),
        ({"open files": 4096, "seconds of CPU": 3600}, "warning"),
    ],
)
def test_limits_that_end_a_training_are_told(limits: dict[str, int], level: str) -> None:
    assert check_limits(replace(MACHINE, limits=limits)).level == level


@pytest.mark.parametrize(
    ("threads", "settings", "quota", "level"),
    [
        (8, {}, None, "ok"),
        (4, {}, None, "ok"),  # half as many: torch leaves hyper-threads alone
        (8, {}, 2.0, "warning"),
        (16, {"OMP_NUM_THREADS": "16"}, None, "warning"),
        (1, {"OMP_NUM_THREADS": "1"}, None, "warning"),
        (1, {"OMP_NUM_THREADS": "1"}, 0.5, "ok"),
    ],
)
def test_threads_are_held_against_cores(
    threads: int, settings: dict[str, str], quota: float | None, level: str
) -> None:
    machine = replace(MACHINE, thread_settings=settings, cpu_quota=quota)
    assert check_threads(replace(TORCH, torch_threads=threads), machine).level == level


@pytest.mark.parametrize(
    ("capabilities", "said", "level"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": True, "avx512_vnni": True}, "fast in fp32, bf16, int8", "ok"),
        ({"avx2": True, "amx_bf16": False}, "fast in fp32", "ok"),
        ({"neon": True, "i8mm": True}, "fast in fp32, int8", "ok"),
        ({"sse4_2": True}, "none; fast in fp32", "warning"),
    ],
)
def test_abilities_decide_which_precision_is_fast(capabilities: dict[str, bool], said: str, level: str) -> None:
    found = check_abilities(replace(TORCH, capabilities=capabilities))
    assert (found.level, found.says.endswith(said)) == (level, True)


def test_a_driver_that_torch_cannot_use_is_told_in_torchs_words() -> None:
    too_old = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
    machine = replace(MACHINE, nvidia_driver="470.82.01")
    found = check_accelerators(replace(TORCH, complaints=(too_old,)), machine)
    assert (found.level, found.says) == ("warning", too_old)
    silent = check_accelerators(replace(TORCH, built_for=None), machine)
    assert silent.level == "warning"
    assert "470.82.01" in silent.says and "CPU alone" in silent.says


def test_accelerators_are_named_and_none_is_no_fault() -> None:
    assert check_accelerators(replace(TORCH, devices=("A100 (42 GB)",)), MACHINE) == ok(
        "accelerators", "CUDA 13.0: A100 (42 GB)"
    )
    assert check_accelerators(TORCH, MACHINE).level == "ok"


@pytest.mark.parametrize(
    ("place", "level"),
    [
        (Place("runs", Path("/data/runs"), 50 * GB), "ok"),
        (Place("runs", Path("/data/runs"), GB), "ok"),
        (Place("datasets", Path("/data/datasets"), GB), "warning"),
        (Place("runs", Path("/data/runs"), 10**7), "fault"),
        (Place("runs", Path("/data/runs"), 50 * GB, refusal="Read-only file system"), "fault"),
        (Place("runs", Path("/data/runs"), 50 * GB, locks=False), "warning"),
    ],
)
def test_a_folder_needs_room_permission_and_locks(place: Place, level: str) -> None:
    found = check_place(place)
    assert found.level == level
    assert bool(found.advice) == (level != "ok")


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above_and_not_made(tmp_path: Path) -> None:
    place = look_at("runs", tmp_path / "deep" / "runs")
    assert (place.refusal, place.locks) == ("", True)
    assert place.free > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_on_which_nothing_can_be_made_is_refused() -> None:
    assert look_at("runs", Path("/proc/runs")).refusal


def test_a_machine_without_a_temporary_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def gettempdir() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", gettempdir)
    found = check_place(list(gather_places())[-1])
    assert (found.check, found.level) == ("disk: temporary files", "fault")
    assert "No usable temporary directory" in found.says
    assert "No usable temporary directory" in try_all()[0].error


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_tightest_limit_of_nested_cgroups_holds(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/job\n",
            "sys/fs/cgroup/user/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user/job/memory.max": "8000000000\n",
            "sys/fs/cgroup/user/memory.max": "max\n",
        },
    )
    assert list(cpu_quotas(root)) == [0.5]
    assert list(memory_limits(root)) == [8 * GB]


def test_the_limits_of_older_cgroups_are_found(tmp_path: Path) -> None:
    """Docker's path is the host's, of which the container sees the top alone."""
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpuacct,cpu:/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
        },
    )
    assert list(cpu_quotas(root)) == [1.5]
    assert list(memory_limits(root)) == [2 * GB]


def test_a_machine_is_read_from_what_linux_tells(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       32000000 kB\nMemAvailable:   24000000 kB\nHugePages_Total: 0\n",
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
            "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",  # none
        },
    )
    machine = gather_machine(root)
    assert (machine.memory, machine.free_memory) == (32_768_000_000, 24_576_000_000)
    assert (machine.cpu_quota, machine.memory_limit, machine.shared_memory) == (None, None, None)
    assert machine.nvidia_driver == "535.104.05"


def test_this_machine_is_read() -> None:
    machine = gather_machine()
    assert 0 < machine.free_memory <= machine.memory
    assert 1 <= machine.usable_cores <= machine.cores
