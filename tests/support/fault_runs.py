"""Runs of `fault_points` from a test: a process that has the failing library preloaded, and what it counted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from support.fault_counts import SECONDS_VARIABLE
from support.fault_points import Tally
from support.faulty_disk import FaultControl, environment

RUN_SECONDS_MAX = 900
"""On a machine that has much else to do; alone it takes 15 at most."""
TESTS = Path(__file__).parents[1]
IS_SOAK = SECONDS_VARIABLE in os.environ


@contextmanager
def memory_folder() -> Iterator[Path]:
    """The stores are many, and no disk is asked for what it really keeps."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="shoal-faults-") as folder:
        yield Path(folder)


def all_points(operation: str, faults: Sequence[str]) -> Tally:
    """Every call of the operation fails in each of the ways; raises AssertionError with what was wrong then."""
    with memory_folder() as folder:
        tally = run_points(folder, operation, faults)
    assert not tally.complaints, "\n".join(tally.complaints)
    return tally


def run_points(folder: Path, operation: str, faults: Sequence[str], *, under: Sequence[str] = ()) -> Tally:
    """`under` is a command that traces it."""
    FaultControl(folder / "control")
    variables = environment(folder / "control", folder / "stores" / "store") | {"PYTHONPATH": str(TESTS)}
    preloaded = variables.pop("LD_PRELOAD")
    command = [sys.executable, "-m", "support.fault_points", str(folder / "stores"), operation, *faults]
    run = subprocess.run(
        [*under, "env", f"LD_PRELOAD={preloaded}", *command],
        env=variables,
        capture_output=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    if b"ptrace" in run.stderr and b"not permitted" in run.stderr:
        pytest.skip("strace may not trace here")
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-4000:]
    return msgspec.json.decode(run.stdout, type=Tally)
