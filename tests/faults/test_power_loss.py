"""F7: the power is lost at any moment of workloads of every kind of write, in 2,000 legal states of the disk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from support.fault_counts import FaultRun
from support.fault_runs import memory_folder
from support.power_loss import State, record

pytestmark = [pytest.mark.slow, pytest.mark.fault(id="F7"), pytest.mark.timeout(900)]

STATES = 2_000
SECONDS = 270.0


def states_without_end(folder: Path, seed: int) -> Iterator[State]:
    for workload in count(seed):
        yield from record(folder / str(workload), seed=workload, kinds="all").states(random.Random(workload))


def test_nothing_acknowledged_is_lost_by_a_power_loss_whatever_the_disk_kept(
    tmp_path: Path, fault_run: FaultRun
) -> None:
    states = states_without_end(tmp_path, fault_run.seed)
    with memory_folder() as memory:
        for _ in fault_run.cycles(STATES, seconds=SECONDS):
            state = next(states)
            assert not (loss := state.loss(memory)), f"{state}: {loss}"
