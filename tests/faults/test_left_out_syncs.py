"""F7: no sync of the engine is there in vain: a power loss takes something when any one of them is left out."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from support.fault_runs import memory_folder
from support.power_loss import TESTS, record

pytestmark = pytest.mark.slow

SEED = 7
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


@pytest.mark.parametrize("label", [*LABELS, "lmdb"])
def test_a_sync_that_is_left_out_loses_something(label: str, tmp_path: Path) -> None:
    states = record(tmp_path, label, seed=SEED).states(random.Random(SEED), DRAWS)
    with memory_folder() as memory:
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
