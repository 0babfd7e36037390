import time

import pytest
import torch

from mbseg.analysis.peaks import ASSUMED_CACHE_BYTES, fastest_runs, last_level_cache, measure_peaks
from mbseg.errors import ConfigError

MIB = 2**20


@pytest.fixture
def cpus(tmp_path):
    """Four CPUs as Linux describes them: each has its own second level, two and two share a third one."""
    for cpu in range(4):
        pair = "0-1" if cpu < 2 else "2-3"
        for index, (level, size, sharers) in enumerate(
            [(1, "48K", str(cpu)), (2, "1024K", str(cpu)), (3, "32768K", pair)]
        ):
            cache = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            cache.mkdir(parents=True)
            for name, text in {"level": level, "size": size, "shared_cpu_list": sharers}.items():
                (cache / name).write_text(f"{text}\n")
    return tmp_path


def test_every_cache_of_the_last_level_counts_once(cpus):
    assert last_level_cache(cpus) == 2 * 32 * MIB


def test_a_cache_is_assumed_where_the_system_tells_of_none(tmp_path):
    assert last_level_cache(tmp_path) == ASSUMED_CACHE_BYTES == 32 * MIB


def test_the_quickest_run_counts():
    pauses = iter([0.05])
    assert fastest_runs([lambda: time.sleep(next(pauses, 0))], seconds=0.1)[0] < 0.05


def test_everything_runs_however_little_time_there_is():
    calls = []
    runs = [lambda name=name: calls.append(name) for name in "abc"]
    assert all(taken < 60 for taken in fastest_runs(runs, seconds=0))
    assert sorted(calls) == ["a", "b", "c"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_peaks_are_those_of_a_computer(precision):
    before = torch.get_num_threads()
    peaks = measure_peaks(threads=1, precision=precision, seconds=0.1)
    assert (peaks.threads, peaks.precision, peaks.cache_bytes) == (1, precision, last_level_cache())
    for rate in (peaks.madds_per_second, peaks.memory_bytes_per_second, peaks.cache_bytes_per_second):
        assert 1e6 < rate < 1e15
    assert torch.get_num_threads() == before


def test_a_precision_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"no precision named 'int8'; there are \['fp32', 'bf16'\]"):
        measure_peaks(precision="int8")


def test_threads_below_one_are_refused():
    with pytest.raises(ConfigError, match="threads is 0; give 1 or more"):
        measure_peaks(threads=0)
