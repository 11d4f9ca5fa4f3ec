"""What is read through the gateway's two paths keeps the contract of the store behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.object_store_contract import BUCKETS, ObjectStoreContract
from support.engines import running_engine
from support.http_reads import HttpReads
from support.lane_doors import door, parts_of
from support.memory_buckets import MemoryBuckets


class TestFastLane(ObjectStoreContract):
    fast_lane = True

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[HttpReads]:
        async with running_engine(tmp_path) as engine:
            parts = parts_of(engine.store, MemoryBuckets(*BUCKETS))
            async with door(parts, fast_lane=self.fast_lane) as served:
                yield HttpReads(engine.store, served)
                assert bool(served.lane.taken) <= self.fast_lane


class TestOrdinaryPath(TestFastLane):
    fast_lane = False
