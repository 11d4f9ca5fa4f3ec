"""F7: no sync of the engine is there in vain: a power loss takes something when any one of them is left out."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from support.fault_runs import memory_folder
from support.power_loss import TESTS, record
from support.power_workload import Kinds

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
"""Every sync of the engine while it serves, as `durability` names them."""
OF_A_REBUILD = (
    "states data", "states name",
    "rebuild list", "rebuilt data", "rebuilt index", "rebuild aside", "rebuild asides",
)  # fmt: skip
"""Of `shoal mountpath disable` and of a rebuild of an index."""
EVERY = {**dict.fromkeys((*LABELS, "lmdb"), "core"), **dict.fromkeys(OF_A_REBUILD, "rebuild")}


@pytest.mark.parametrize(("label", "kinds"), EVERY.items())
def test_a_sync_that_is_left_out_loses_something(label: str, kinds: Kinds, tmp_path: Path) -> None:
    states = record(tmp_path, label, seed=SEED, kinds=kinds).states(random.Random(SEED), DRAWS)
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
    assert labels == set(LABELS) | set(OF_A_REBUILD)


def test_a_power_loss_while_an_index_is_made_anew_loses_nothing(tmp_path: Path) -> None:
    states = record(tmp_path, seed=SEED, kinds="rebuild").states(random.Random(SEED), 2)
    with memory_folder() as memory:
        assert [(str(state), loss) for state in states if (loss := state.loss(memory))] == []
