"""Small writes: the fast lane against the ordinary path, in answers and in what is stored afterwards."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shoal_core.objects import Bucket, BucketProperties, BucketReference, ListQuery
from shoal_store.engine import Engine
from support.engines import get, running_engine
from support.lane_doors import door, parts_of
from support.lane_puts import PutGenerator
from support.memory_buckets import MemoryBuckets

REQUESTS = int(os.environ.get("SHOAL_LANE_PUTS", "3000"))
NAMES = (
    "plain", "a/b/c.bin", "space in it", "caf\u00e9", "a//b", "../up", ".", "%25", "x" * 500, "x" * 1024, "x" * 1025,
)  # fmt: skip


async def stored(engine: Engine, bucket: Bucket) -> dict[str, Any]:
    """All that a client can see of each object, but when it was written."""
    found: dict[str, Any] = {}
    page = await engine.store.list(bucket, ListQuery())
    for info in page.entries:
        info = await engine.store.head(bucket, info.name)
        found[info.name] = (
            info.size, info.etag, info.checksum, info.content_type, info.metadata, info.headers, info.sequence,
            await get(engine, info.name, bucket=bucket),
        )  # fmt: skip
    return found


async def compare(one: Engine, other: Engine, bucket: Bucket, seed: int) -> None:
    """Says little of a difference, since pytest takes minutes to explain one of long bodies."""
    first, second = await stored(one, bucket), await stored(other, bucket)
    if first != second:
        pytest.fail(f"seed {seed}: {[name for name in NAMES if first.get(name) != second.get(name)]} differ")


@pytest.mark.timeout(600)
async def test_the_lane_stores_what_the_ordinary_path_does(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    chosen, generator = random.Random(seed), PutGenerator("lane", NAMES, seed)
    buckets, statuses = MemoryBuckets(), Counter[str]()
    bucket = await buckets.create(BucketReference("lane"), BucketProperties(durability="os"))
    async with (
        running_engine(tmp_path / "fast") as one,
        running_engine(tmp_path / "slow") as other,
        door(parts_of(one.store, buckets), fast_lane=True) as fast,
        door(parts_of(other.store, buckets), fast_lane=False) as slow,
    ):
        plain = 0
        for asked in range(REQUESTS):
            request = generator.next()
            places = chosen.choice([1, 2, 5]) if chosen.random() < 0.1 else 0
            cuts = sorted(chosen.randrange(1, len(request.encoded())) for _ in range(places))
            first, second = await asyncio.gather(*(each.ask([request], cuts) for each in (fast, slow)))
            if first != second:
                pytest.fail(f"seed {seed}, request {asked}: {request.unusual} {request}\n{first}\n{second}")
            plain += not (request.unusual or cuts)
            statuses[first[-1].status.decode("latin-1")[9:12]] += 1
            if asked % 500 == 0:
                await compare(one, other, bucket, seed)
        await compare(one, other, bucket, seed)
    print(f"seed {seed}: {REQUESTS} writes, {fast.lane.taken} took the lane; {plain} plain; {dict(statuses)}")
    assert plain <= 0.7 * REQUESTS
    assert fast.lane.taken >= 0.3 * REQUESTS
    assert slow.lane.taken == 0
