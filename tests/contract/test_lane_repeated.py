"""A head that the lane has judged is not judged again for other names; what is answered is looked up each time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_core.objects import Bucket, BucketReference
from shoal_gateway.parts import Parts
from shoal_store.commit import Commit
from shoal_store.engine import Engine
from support.engines import put, running_engine
from support.lane_doors import Door, connection, door, outcome, parts_of
from support.memory_buckets import MemoryBuckets

HEAD = "GET /v1/objects/{bucket}/{name} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"


class Buckets(MemoryBuckets):
    """May have to be asked each time, as those of a process that stood still."""

    is_fresh = True

    def state(self) -> object | None:
        return super().state() if self.is_fresh else None


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as running:
        yield running


@pytest.fixture
def buckets() -> Buckets:
    return Buckets()


@pytest.fixture
async def bucket(buckets: Buckets) -> Bucket:
    return await buckets.create(BucketReference("lane"))


@pytest.fixture
async def parts(engine: Engine, buckets: Buckets, bucket: Bucket) -> Parts:
    for name in ("one", "other"):
        await put(engine, name, name.encode(), bucket=bucket)
    return parts_of(engine.store, buckets)


async def body(to: Door, name: str, *, bucket: str = "lane", more: str = "") -> bytes | int:
    """The body of an answer with success, the status of another."""
    async with connection(to) as (reader, writer):
        writer.write(HEAD.format(bucket=bucket, name=name, more=more).encode())
        answer = await outcome(reader, is_head=False)
        status = int(answer.status.split()[1])
        return answer.body if status in (200, 206) else status


async def test_each_name_has_its_own_answer(parts: Parts) -> None:
    async with door(parts) as fast:
        asked = ["one", "other", "one", "none", "other"]
        assert [await body(fast, name) for name in asked] == [b"one", b"other", b"one", 404, b"other"]
        assert fast.lane.taken == 4


async def test_a_name_in_other_letters_is_what_it_means(parts: Parts) -> None:
    async with door(parts) as fast:
        assert await body(fast, "one") == b"one"
        asked = ["%6fne", "one?provider=ais", "%6Fther", "%6f%00"]
        assert [await body(fast, name) for name in asked] == [b"one", b"one", b"other", 400]


async def test_what_was_overwritten_or_deleted_by_others_is_so_at_once(
    parts: Parts, engine: Engine, bucket: Bucket
) -> None:
    async with door(parts) as fast:
        assert await body(fast, "one") == b"one"
        await put(engine, "one", b"newer", bucket=bucket)
        assert await body(fast, "one") == b"newer"
        await engine.commit(Commit("delete", bucket.id, bucket.generation, "one", 1, False))
        assert await body(fast, "one") == 404


async def test_a_bucket_that_was_destroyed_and_made_anew_is_empty(parts: Parts, buckets: Buckets) -> None:
    async with door(parts) as fast:
        assert await body(fast, "one") == b"one"
        await buckets.delete(BucketReference("lane"))
        assert await body(fast, "one") == 404
        await buckets.create(BucketReference("lane"))
        assert await body(fast, "one") == 404


async def test_another_head_is_judged_by_itself(parts: Parts) -> None:
    async with door(parts) as fast:
        assert await body(fast, "one") == b"one"
        assert await body(fast, "one", more="Range: bytes=1-\r\n") == b"ne"
        assert await body(fast, "one", more="Origin: http://elsewhere.example\r\n") == 403
        assert await body(fast, "one", more="Host: elsewhere.example\r\n") in (400, 403)
        assert await body(fast, "one", bucket="lane2") == 404
        assert await body(fast, "one") == b"one"


async def test_a_process_that_stood_still_asks_again(parts: Parts, buckets: Buckets) -> None:
    async with door(parts) as fast:
        assert await body(fast, "one") == b"one"
        await buckets.delete(BucketReference("lane"))
        buckets.is_fresh = False
        assert await body(fast, "one") == 404
