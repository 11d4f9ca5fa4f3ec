"""`Machine`: from the kernel's files, as machines, containers and old kernels have them, to a reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from shoal_core.machine import Machine

MIB = 1 << 20
MEMINFO = "MemTotal:       1048576 kB\nMemFree:  1 kB\nMemAvailable:    524288 kB\n"
PRESSURE = (
    "some avg10=12.50 avg60=7.31 avg300=5.03 total=25244467\nfull avg10=99.00 avg60=0 avg300=0 total=0\n"
)


def machine(root: Path, files: Mapping[str, str]) -> Machine:
    for path, text in {"proc/meminfo": MEMINFO, "proc/loadavg": "0.00 0 0 1/1 1\n", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Machine(root)


def test_without_limits_the_machine_speaks(tmp_path: Path) -> None:
    reading = machine(tmp_path, {"proc/pressure/cpu": PRESSURE, "proc/pressure/io": PRESSURE}).read()
    assert (reading.memory_bytes, reading.memory_available_bytes) == (1024 * MIB, 512 * MIB)
    assert (reading.processor_waiting, reading.disk_waiting) == (0.125, 0.125)


def test_a_kernel_without_pressure_accounts_has_a_load_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    reading = machine(tmp_path, {"proc/loadavg": "4.00 0 0 1/1 1\n"}).read()
    assert (reading.processor_waiting, reading.disk_waiting) == (0.5, 0.0)


@pytest.mark.parametrize("folder", ["sys/fs/cgroup/pod/a", "sys/fs/cgroup"])
def test_the_limit_of_a_cgroup_counts_and_its_page_cache_is_available(tmp_path: Path, folder: str) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/a\n",
        f"{folder}/memory.max": f"{100 * MIB}\n",
        f"{folder}/memory.current": f"{90 * MIB}\n",
        f"{folder}/memory.stat": f"anon 1\nactive_file {20 * MIB}\ninactive_file {10 * MIB}\n",
    }
    reading = machine(tmp_path, files).read()
    assert (reading.memory_bytes, reading.memory_available_bytes) == (100 * MIB, 40 * MIB)


def test_a_cgroup_of_the_first_version_counts_too(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory/box"
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/box\n1:cpu:/\n0::/\n",
        f"{folder}/memory.limit_in_bytes": f"{100 * MIB}\n",
        f"{folder}/memory.usage_in_bytes": f"{90 * MIB}\n",
        f"{folder}/memory.stat": f"active_file 1\ntotal_active_file {5 * MIB}\ntotal_inactive_file {5 * MIB}\n",
    }
    reading = machine(tmp_path, files).read()
    assert (reading.memory_bytes, reading.memory_available_bytes) == (100 * MIB, 20 * MIB)


def test_a_cgroup_without_a_limit_does_not_count(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.current": "1\n",
    }
    assert machine(tmp_path, files).read().memory_bytes == 1024 * MIB


def test_this_very_machine_can_be_read() -> None:
    reading = Machine().read()
    assert 0 < reading.memory_available_bytes <= reading.memory_bytes
    assert 0 <= reading.processor_waiting <= 1
    assert 0 <= reading.disk_waiting <= 1
