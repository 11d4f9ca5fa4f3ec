"""Processes of one host know each other, and agree on the time."""

from __future__ import annotations

import subprocess
import sys

from shoal_core.host import boottime_seconds, host_id


def test_processes_of_one_host_have_one_id() -> None:
    code = "from shoal_core.host import host_id; print(host_id())"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert other.stdout.strip() == host_id()


def test_boot_time_is_the_same_clock_in_every_process() -> None:
    before = boottime_seconds()
    code = "from shoal_core.host import boottime_seconds; print(boottime_seconds())"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert before < float(other.stdout) < boottime_seconds()
