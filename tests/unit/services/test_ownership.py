"""The placement that the indexes hold when a target starts."""

from __future__ import annotations

from pathlib import Path

from shoal_target.ownership import stored_epoch
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
