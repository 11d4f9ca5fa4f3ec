"""The placement that the indexes hold when a target starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shoal.object.v1.object_pb2 import Routing
from shoal_core.cluster_map import ClusterMap
from shoal_core.errors import StaleEpoch
from shoal_target.ownership import Ownership, stored_epoch
from support.engines import running_engine


async def test_the_oldest_placement_of_the_indexes_counts(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        engine.own(7, bytes(8192))
        assert stored_epoch(engine) == 7


async def test_a_damaged_placement_counts_as_none_so_that_it_is_written_anew(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        index = engine.indexes["mp1"]
        with index.write() as transaction:
            transaction.put(b"owned", b"\xff" * 20, db=index.slots)
        assert stored_epoch(engine) == 0
        engine.own(2, bytes(8192))
        assert stored_epoch(engine) == 2


class Fresh:
    """Somebody else has waited until all was known."""

    async def wait(self) -> bool:
        return False


async def test_a_placement_that_is_known_is_in_force_before_anything_is_answered(tmp_path: Path) -> None:
    """Whether `follow` has come to it or not: what it takes away may have been written elsewhere since."""
    async with running_engine(tmp_path) as engine:
        engine.own(7, bytes(8192))
        node: Any = SimpleNamespace(
            view=SimpleNamespace(current=ClusterMap("c", 1, 8, ())), buckets=None, freshness=Fresh()
        )
        ownership = Ownership("t1", node, engine=engine)
        with pytest.raises(StaleEpoch):
            await ownership.admit(Routing(placement_epoch=7))
        assert stored_epoch(engine) == 8
