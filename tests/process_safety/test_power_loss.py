"""Power loss: whatever the disk may legally have lost, nothing acknowledged is lost, and no sync is there in vain.

`tests/faults/test_power_loss.py` does the same with more states, and other workloads in every run.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fault_runs import memory_folder
from support.power_loss import TESTS, record

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SHOAL_POWER_SEED", "7"))
DRAWS = 8
"""What is lost without a sync may need luck: some names kept, and others of the same folder lost."""
STORE = TESTS.parent / "lib" / "shoal_store"

LABELS = (
    "mountpath", "unfinished", "data folders", "folders", "identity", "index name",
    "chunk data", "chunk name", "manifest data", "manifest name",
    "copy data", "copy description", "copy files", "copies", "copy name",
)  # fmt: skip
"""Every sync of the engine, as `durability` names them."""
ELSEWHERE = {"mountpath states", "index rebuild"}
"""In the target's state folder, or while nothing is served: this workload has none."""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: the states are many, and the real disk has been asked already."""
    with memory_folder() as folder:
        yield folder


def test_nothing_acknowledged_is_lost_in_200_states(tmp_path: Path, memory: Path) -> None:
    checked = 0
    for state in record(tmp_path, seed=SEED).states(random.Random(SEED)):
        assert not state.loss(memory), f"{state}: {state.loss(memory)}"
        checked += 1
    assert checked >= 200


@pytest.mark.parametrize("label", [*LABELS, "lmdb"])
def test_a_sync_that_is_left_out_loses_something(label: str, tmp_path: Path, memory: Path) -> None:
    states = record(tmp_path, label, seed=SEED).states(random.Random(SEED), DRAWS)
    assert any(state.loss(memory) for state in states), (
        f"no state of seed {SEED} misses the sync of {label!r}"
    )


def test_no_sync_is_without_its_test() -> None:
    source = "".join(path.read_text() for path in sorted(STORE.glob("*.py")))
    labels = set(re.findall(r'sync_(?:data|directory)\([^\n]*, "([^"]+)"\)', source))
    labels |= {
        f"{what} {part}"
        for what in re.findall(r'what="(chunk|manifest)"', source)
        for part in ("data", "name")
    }
    assert labels == set(LABELS) | ELSEWHERE
