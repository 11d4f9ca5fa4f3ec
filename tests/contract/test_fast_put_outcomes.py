"""Small writes on the fast lane that take long, fail, or lose their client or their server on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from shoal_core.errors import ObjectNotFound, ShoalError, StaleEpoch, Unavailable
from shoal_core.objects import Bucket, BucketProperties, BucketReference, ObjectInfo
from shoal_gateway.lane import gathering
from shoal_gateway.lane.requests import CONTINUE
from shoal_gateway.parts import Parts
from shoal_store.commit import Commit
from shoal_store.engine import Engine
from shoal_store.keys import placed
from shoal_store.local import LocalObjectStore
from support.engines import get, running_engine
from support.lane_doors import OK, connection, door, get_of, outcome, parts_of, put_of
from support.memory_buckets import MemoryBuckets
from support.waiting import eventually

GET_A = get_of("a")


class GatedCommitter:
    """Passes commits on to the engine when the gate is open, or fails with what `errors` hold first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gate = asyncio.Event()
        self.errors: list[ShoalError] = []
        self.taken = 0

    async def commit(self, commit: Commit) -> ObjectInfo:
        self.taken += 1
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return await self._engine.commit(commit)


@dataclass
class Gated:
    engine: Engine
    committer: GatedCommitter
    parts: Parts
    bucket: Bucket


@pytest.fixture
async def gated(tmp_path: Path) -> AsyncIterator[Gated]:
    buckets = MemoryBuckets()
    bucket = await buckets.create(BucketReference("lane"), BucketProperties())
    async with running_engine(tmp_path) as engine:
        committer = GatedCommitter(engine)
        store = LocalObjectStore(engine.reader, engine.writer, committer, epoch=lambda: 1)
        yield Gated(engine, committer, parts_of(store, buckets), bucket)


def is_there(gated: Gated, name: str) -> bool:
    with suppress(ObjectNotFound):
        return (
            gated.engine.reader.ready(
                gated.bucket, placed(gated.bucket.id, name.encode()), None, with_bytes=True
            )
            is not None
        )
    return False


async def test_what_comes_while_a_write_is_under_way_is_answered_after_it(gated: Gated) -> None:
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(put_of("a", b"one"))
        await eventually(lambda: gated.committer.taken == 1)
        writer.write(put_of("a", b"two") + GET_A)
        await asyncio.sleep(0.1)
        assert gated.committer.taken == 1
        gated.committer.gate.set()
        answers = [await outcome(reader, is_head=False) for _ in range(3)]
        assert [answer.status for answer in answers] == [OK, OK, OK]
        assert answers[2].body == b"two"


async def test_a_write_that_failed_without_a_trace_is_repeated_by_the_ordinary_path(gated: Gated) -> None:
    gated.committer.gate.set()
    gated.committer.errors.append(StaleEpoch("the map has changed"))
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(put_of("a", b"one"))
        assert (await outcome(reader, is_head=False)).status == OK
        assert gated.committer.taken == 2
        assert await get(gated.engine, "a", bucket=gated.bucket) == b"one"


async def test_a_write_of_which_nobody_knows_whether_it_happened_is_not_repeated(gated: Gated) -> None:
    gated.committer.gate.set()
    gated.committer.errors.append(Unavailable("the stream broke", outcome="unknown"))
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(put_of("a", b"one"))
        answer = await outcome(reader, is_head=False)
        assert answer.status == b"HTTP/1.1 503 Service Unavailable"
        assert b"the stream broke" in answer.body
        assert gated.committer.taken == 1
        writer.write(put_of("a", b"two"))
        assert (await outcome(reader, is_head=False)).status == OK
        assert await get(gated.engine, "a", bucket=gated.bucket) == b"two"


async def test_a_writer_that_vanishes_leaves_its_object_and_its_place(gated: Gated) -> None:
    async with door(gated.parts, requests_max=1) as fast:
        async with connection(fast) as (_, writer):
            writer.write(put_of("a", b"one"))
            await eventually(lambda: gated.committer.taken == 1)
        gated.committer.gate.set()
        async with connection(fast) as (reader, writer):
            await eventually(lambda: is_there(gated, "a"))
            writer.write(put_of("b", b"two"))
            assert (await outcome(reader, is_head=False)).status == OK
    assert await get(gated.engine, "a", bucket=gated.bucket) == b"one"


async def test_a_write_under_way_counts_as_a_request_being_served(gated: Gated) -> None:
    async with (
        door(gated.parts, requests_max=1) as fast,
        connection(fast) as (reader, writer),
        connection(fast) as (other, asking),
    ):
        writer.write(put_of("a", b"one"))
        await eventually(lambda: gated.committer.taken == 1)
        asking.write(put_of("b", b"two"))
        assert (await outcome(other, is_head=False)).status == b"HTTP/1.1 503 Service Unavailable"
        gated.committer.gate.set()
        assert (await outcome(reader, is_head=False)).status == OK


async def test_a_server_that_stops_answers_the_write_first(gated: Gated) -> None:
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(put_of("a", b"one"))
        await eventually(lambda: gated.committer.taken == 1)
        fast.server.stop()
        await asyncio.sleep(0.1)
        gated.committer.gate.set()
        assert (await outcome(reader, is_head=False)).status == OK
        assert await reader.read() == b""


LONG = random.Random(5).randbytes(300_000)


async def test_a_body_that_comes_in_packets_takes_the_lane_with_what_comes_behind_it(gated: Gated) -> None:
    gated.committer.gate.set()
    data = put_of("a", LONG) + GET_A
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        for start in range(0, len(data), 70_000):
            writer.write(data[start : start + 70_000])
            await asyncio.sleep(0)
        answers = [await outcome(reader, is_head=False) for _ in range(2)]
        assert [answer.status for answer in answers] == [OK, OK]
        assert answers[1].body == LONG
        assert fast.lane.taken >= 1
        assert not fast.application.places.bytes_taken


@pytest.mark.parametrize("fast_lane", [True, False])
@pytest.mark.parametrize("sent", [100, 40_000, len(LONG)])
async def test_what_follows_a_length_shorter_than_the_body_is_no_request(
    gated: Gated, *, sent: int, fast_lane: bool
) -> None:
    """How many packets there are decides whether that is known before the write is answered, or begun."""
    gated.committer.gate.set()
    told, body = put_of("a", LONG[: sent // 2]), LONG[sent // 2 : sent]
    async with door(gated.parts, fast_lane=fast_lane) as fast, connection(fast) as (reader, writer):
        writer.write(told + body)
        answer = await outcome(reader, is_head=False)
        is_stored = answer.status == OK
        if is_stored:
            answer = await outcome(reader, is_head=False)
        assert answer.status == b"HTTP/1.1 400 Bad Request"
    if is_stored or is_there(gated, "a"):
        is_what_was_told = await get(gated.engine, "a", bucket=gated.bucket) == LONG[: sent // 2]
        assert is_what_was_told  # of bytes, pytest would show the difference for minutes


async def test_a_body_that_takes_its_time_is_left_to_the_ordinary_path(
    gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SECONDS_MAX", 0.0)
    gated.committer.gate.set()
    data = put_of("a", LONG)
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(data[:100_000])
        await asyncio.sleep(0.1)
        writer.write(data[100_000:])
        assert (await outcome(reader, is_head=False)).status == OK
        assert fast.lane.taken == 0
    assert await get(gated.engine, "a", bucket=gated.bucket) == LONG


async def test_a_client_that_vanishes_in_the_middle_of_a_body_leaves_its_place(gated: Gated) -> None:
    async with door(gated.parts, requests_max=1) as fast:
        async with connection(fast) as (_, writer):
            writer.write(put_of("a", LONG)[:100_000])
            await eventually(lambda: fast.application.places.taken == 1)
        await eventually(lambda: fast.application.places.taken == 0)
        assert not fast.application.places.bytes_taken
    assert gated.committer.taken == 0


async def test_a_long_write_that_failed_without_a_trace_is_repeated_by_the_ordinary_path(
    gated: Gated,
) -> None:
    gated.committer.gate.set()
    gated.committer.errors.append(StaleEpoch("the map has changed"))
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(put_of("a", LONG))
        assert (await outcome(reader, is_head=False)).status == OK
        assert (gated.committer.taken, fast.lane.taken) == (2, 1)
        assert await get(gated.engine, "a", bucket=gated.bucket) == LONG


async def test_a_server_that_stops_in_the_middle_of_a_body_takes_the_rest_of_it(gated: Gated) -> None:
    gated.committer.gate.set()
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(put_of("a", LONG)[:100_000])
        await eventually(lambda: fast.application.places.taken == 1)
        fast.server.stop()
        await asyncio.sleep(0.1)
        writer.write(put_of("a", LONG)[100_000:])
        assert (await outcome(reader, is_head=False)).status == OK
    assert await get(gated.engine, "a", bucket=gated.bucket) == LONG


def expecting(body: bytes) -> bytes:
    """The head of a write whose client waits to be told to go on."""
    return put_of("a", body)[: -len(body)].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")


async def test_a_client_that_waits_is_told_to_go_on(gated: Gated) -> None:
    gated.committer.gate.set()
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        for body in (b"one", b"two" * 20_000):
            writer.write(expecting(body))
            assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
            assert await get(gated.engine, "a", bucket=gated.bucket) == body
        assert fast.lane.taken == 2


async def test_a_client_that_does_not_wait_need_not_be_told(gated: Gated) -> None:
    gated.committer.gate.set()
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(expecting(b"one") + b"one")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
        assert fast.lane.taken == 1


async def test_a_client_is_told_once_also_when_the_ordinary_path_takes_its_body(
    gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SECONDS_MAX", 0.05)
    gated.committer.gate.set()
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(expecting(b"one"))
        assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
        await asyncio.sleep(0.2)
        writer.write(b"one")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
        assert fast.lane.taken == 0
        assert await get(gated.engine, "a", bucket=gated.bucket) == b"one"


async def test_what_else_a_client_expects_is_left_to_the_ordinary_path(gated: Gated) -> None:
    gated.committer.gate.set()
    async with door(gated.parts) as fast, connection(fast) as (reader, writer):
        writer.write(expecting(b"one").replace(b"100-continue", b"a miracle") + b"one")
        assert (await outcome(reader, is_head=False)).status == OK
        assert fast.lane.taken == 0
