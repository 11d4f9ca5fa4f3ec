"""Purging a removed bucket: all of it, nothing of its neighbours, and again from wherever it was interrupted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core.errors import Unavailable
from shoal_core.objects import Bucket, BucketId, BucketReference
from shoal_store.engine import Engine
from shoal_store.purge import purge_batch
from support.engines import (
    BUCKET,
    VERSIONED,
    Fence,
    get,
    put,
    put_in_chunks,
    running_engine,
    settled,
    stored,
)

LARGE = os.urandom(50_000)
# Its id is the next in the order of keys.
NEIGHBOUR = Bucket(BucketReference("next"), BucketId(b"engine-3"), 1, 0, BUCKET.properties)


@pytest.fixture
def fence() -> Fence:
    return Fence()


@pytest.fixture
async def engine(tmp_path: Path, fence: Fence) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path, fence=fence) as engine:
        yield engine


def entries(engine: Engine) -> dict[str, int]:
    """Rows of the tables that hold objects, over all indexes."""
    found = {}
    for name in ("records", "versions", "payloads"):
        found[name] = 0
        for index in engine.indexes.values():
            with index.read() as transaction:
                found[name] += transaction.stat(getattr(index, name))["entries"]
    return found


async def fill(engine: Engine, bucket: Bucket) -> None:
    """Six objects, each written twice, and one of them deleted."""
    for number in range(6):
        await put(engine, f"name-{number}", b"small", bucket=bucket)
        await put(engine, f"name-{number}", LARGE if number % 2 else b"again", bucket=bucket)
    await engine.store.delete(bucket, "name-0")


async def purge(engine: Engine, fence: Fence, bucket: Bucket) -> tuple[int, int]:
    fence.removed.add(bucket.id)
    batches = [purged async for purged in engine.purge_bucket(bucket.id)]
    return sum(batch.objects for batch in batches), sum(batch.bytes for batch in batches)


async def test_a_purge_removes_records_versions_payloads_and_files(
    engine: Engine, fence: Fence, tmp_path: Path
) -> None:
    await fill(engine, VERSIONED)
    assert await purge(engine, fence, VERSIONED) == (13, 6 * 5 + 3 * 5 + 3 * len(LARGE))
    assert entries(engine) == {"records": 0, "versions": 0, "payloads": 0}
    assert stored(tmp_path) == []


async def test_a_purge_leaves_other_buckets_alone(engine: Engine, fence: Fence) -> None:
    for bucket in (BUCKET, VERSIONED, NEIGHBOUR):
        await fill(engine, bucket)
    await purge(engine, fence, VERSIONED)
    for bucket in (BUCKET, NEIGHBOUR):
        assert await get(engine, "name-1", bucket=bucket) == LARGE
        assert await get(engine, "name-2", bucket=bucket) == b"again"


async def test_a_purge_that_was_interrupted_is_finished_by_the_next(
    engine: Engine, fence: Fence, tmp_path: Path
) -> None:
    await fill(engine, VERSIONED)
    for index in engine.indexes.values():
        first = await asyncio.to_thread(purge_batch, index, engine.mountpaths, VERSIONED.id, batch=2)
        assert first.objects == 2
    assert (await purge(engine, fence, VERSIONED))[0] == 13 - 4
    assert stored(tmp_path) == []
    assert (await purge(engine, fence, VERSIONED))[0] == 0


async def test_a_bucket_that_is_still_known_is_not_purged(engine: Engine) -> None:
    await put(engine, "a", b"x")
    with pytest.raises(Unavailable, match="still known"):
        await anext(engine.purge_bucket(BUCKET.id))
    assert await get(engine, "a") == b"x"


async def test_a_purge_takes_damaged_records_too(engine: Engine, fence: Fence) -> None:
    info = await put(engine, "a", LARGE)
    index = engine.indexes[info.location.partition(":")[2]]
    with index.write() as transaction:
        transaction.put(BUCKET.id + b"a", b"damaged", db=index.records)
    assert await purge(engine, fence, BUCKET) == (1, 0)
    assert entries(engine)["records"] == 0


async def test_a_purge_removes_objects_in_several_chunks_with_their_manifests(
    engine: Engine, fence: Fence, tmp_path: Path
) -> None:
    await put_in_chunks(engine, "a", LARGE, 20_000)
    assert len(stored(tmp_path)) == 4
    await purge(engine, fence, BUCKET)
    assert stored(tmp_path) == []


async def test_a_file_that_is_gone_already_does_not_stop_a_purge(
    engine: Engine, fence: Fence, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    await put(engine, "b", LARGE)
    stored(tmp_path)[0].unlink()
    assert (await purge(engine, fence, BUCKET))[0] == 2
    assert stored(tmp_path) == []


async def test_commits_to_other_buckets_go_on_during_a_purge(engine: Engine, fence: Fence) -> None:
    await fill(engine, VERSIONED)
    other = replace(NEIGHBOUR, properties=VERSIONED.properties)
    await asyncio.gather(
        purge(engine, fence, VERSIONED), *(put(engine, f"n-{n}", b"x", bucket=other) for n in range(50))
    )
    await settled(engine)
    assert entries(engine) == {"records": 50, "versions": 0, "payloads": 50}
