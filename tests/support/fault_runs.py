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
        control = folder / "control"
        FaultControl(control)
        variables = environment(control, folder / "stores" / "store")
        run = subprocess.run(
            [sys.executable, "-m", "support.fault_points", str(folder / "stores"), operation, *faults],
            env=variables | {"PYTHONPATH": str(TESTS)},
            capture_output=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-4000:]
    tally = msgspec.json.decode(run.stdout, type=Tally)
    assert not tally.complaints, "\n".join(tally.complaints)
    return tally
