"""Power loss: whatever the disk may legally have lost, nothing acknowledged is lost.

`tests/faults/test_power_loss.py` does the same with more states, and other workloads in every run;
`tests/faults/test_left_out_syncs.py` shows that no sync is there in vain.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from support.fault_runs import memory_folder
from support.power_loss import record

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SHOAL_POWER_SEED", "7"))


def test_nothing_acknowledged_is_lost_in_200_states(tmp_path: Path) -> None:
    checked = 0
    with memory_folder() as memory:
        for state in record(tmp_path, seed=SEED).states(random.Random(SEED)):
            assert not state.loss(memory), f"{state}: {state.loss(memory)}"
            checked += 1
    assert checked >= 200
