"""The fast lane against the ordinary path: the same requests, byte for byte, to two doors of one store.

Nothing may tell the doors apart but dates, request ids and the caller's port. The seed is printed with a difference.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR, Permission
from shoal_core.multipart import Completion, PartChoice
from shoal_core.objects import Bucket, BucketProperties, BucketReference, PutRequest, RangeRequest
from shoal_gateway.parts import Parts
from shoal_store.engine import Engine
from shoal_store.keys import placed
from shoal_store.ready import close_files, is_cached
from support.engines import commit_of, get, in_pieces, put, running_engine
from support.lane_doors import connection, door, outcome, parts_of
from support.lane_requests import Generator
from support.memory_buckets import MemoryBuckets
from support.waiting import eventually

REQUESTS = int(os.environ.get("SHOAL_LANE_REQUESTS", "20000"))
"""`make test-fuzz` sends 100,000."""
NAMES = {
    "plain": 0, "one": 1, "a/b/c.bin": 4096, "inline-border": 32 << 10, "first-file": (32 << 10) + 1, "64k": 65_536,
    "mega": (1 << 20) + 3, "chunks": 3 * (1 << 20), "space in it": 100, "plus+plus": 101, "percent%20": 102,
    "caf\u00e9/\u65e5\u672c": 103, "a//b": 104, "../up": 105, ".": 106, "x" * 500: 107, "'quotes\"": 108, "tilde~": 109,
    "trailing/": 110, "semi;colon": 111, "amp&ersand=": 112, "question?": 113, "hash#": 114,
}  # fmt: skip

CHECKSUM = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"}
HEADERS = {0: {**CHECKSUM, "cache-control": "no-store"}, 1: CHECKSUM}
"""By the remainder of the size."""


async def filled(engine: Engine, bucket: Bucket) -> None:
    for name, size in NAMES.items():
        request = PutRequest(
            name,
            content_type="text/plain; charset=utf-8" if size % 2 else "application/octet-stream",
            metadata={"colour": "blue", "place": "Malm\u00f6"} if size % 3 == 0 else {},
            headers=HEADERS.get(size % 5, {}),
        )
        body = random.Random(size).randbytes(size)
        chunk_bytes = (1 << 20) + 5 if name == "chunks" else None
        written = await engine.writer.write(bucket, request, in_pieces(body), chunk_bytes=chunk_bytes)
        await engine.commit(commit_of(written, name, bucket=bucket))
        opened = await engine.store.open(bucket, name)
        async for _ in opened.chunks():
            """Read once, so that its blocks are verified."""
        await opened.close()


@pytest.mark.timeout(900)
async def test_the_lane_answers_as_the_ordinary_path_does(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    chosen = random.Random(seed)
    buckets, unusual = MemoryBuckets(), Counter[str]()
    bucket = await buckets.create(BucketReference("lane"), BucketProperties())
    names = [name for name, size in NAMES.items() for _ in range(1 if size > 1 << 20 else 10)]
    generator = Generator("lane", names, seed)
    async with running_engine(tmp_path) as engine:
        await filled(engine, bucket)
        parts = parts_of(engine.store, buckets)
        async with door(parts, fast_lane=True) as fast, door(parts, fast_lane=False) as slow:
            asked = 0
            while asked < REQUESTS:
                together = chosen.choice([2, 3]) if chosen.random() < 0.03 else 1
                requests = [generator.next() for _ in range(together)]
                size = sum(len(request.encoded()) for request in requests)
                cuts = sorted(chosen.sample(range(1, size), 2)) if chosen.random() < 0.03 else []
                first, second = await fast.ask(requests, cuts), await slow.ask(requests, cuts)
                assert first == second, f"seed {seed}, request {asked}: {requests}"
                asked += together
                unusual["plain"] += sum(not (request.unusual or cuts or together > 1) for request in requests)
                unusual["statuses " + first[-1].status.decode("latin-1")[9:12]] += 1
    print(f"seed {seed}: {asked} requests, {fast.lane.taken} took the lane; {dict(unusual)}")
    assert asked - unusual["plain"] >= 0.3 * asked
    assert fast.lane.taken >= 0.4 * asked
    assert slow.lane.taken == 0


LARGE = random.Random(1).randbytes(24 << 20)
"""More than two sockets hold, so that it cannot leave in one go."""
GET_LARGE = b"GET /v1/objects/lane/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET_SMALL = b"GET /v1/objects/lane/small HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as running:
        yield running


@pytest.fixture
async def parts(engine: Engine) -> Parts:
    """A bucket with `small` and `large`, both read once."""
    buckets = MemoryBuckets()
    bucket = await buckets.create(BucketReference("lane"), BucketProperties())
    for name, body in (("small", b"small"), ("large", LARGE)):
        await put(engine, name, body, bucket=bucket)
        assert await get(engine, name, bucket=bucket) == body
    return parts_of(engine.store, buckets)


def open_files(folder: Path) -> int:
    """Descriptors of this process that point below the data folders."""
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith(str(folder)) and "/data/" in link for link in links)


def large_file(folder: Path) -> Path:
    (file,) = [path for path in folder.glob("*/data/*/*") if path.stat().st_size > 1 << 20]
    return file


async def body_of(reader: asyncio.StreamReader) -> bytes:
    return (await outcome(reader, is_head=False)).body


async def test_a_slow_reader_gets_all_of_a_file_and_then_what_it_asked_for_meanwhile(
    parts: Parts, tmp_path: Path
) -> None:
    async with door(parts) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port, limit=1 << 16)
        writer.write(GET_LARGE)
        await asyncio.sleep(0.2)
        assert open_files(tmp_path) == 1
        writer.write(GET_SMALL + GET_SMALL)
        await asyncio.sleep(0.1)
        assert await body_of(reader) == LARGE
        assert [await body_of(reader), await body_of(reader)] == [b"small", b"small"]
        assert (fast.lane.taken, open_files(tmp_path)) == (1, 0)
        writer.write(GET_SMALL)
        assert await body_of(reader) == b"small"
        assert fast.lane.taken == 2
        writer.close()


async def test_a_reader_that_vanishes_leaves_nothing_open(parts: Parts, tmp_path: Path) -> None:
    async with door(parts, requests_max=1) as fast:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", fast.port)
            writer.write(GET_LARGE)
            await reader.readexactly(1000)
            writer.transport.abort()
            await eventually(lambda: open_files(tmp_path) == 0)
        assert fast.lane.taken == 3


async def test_a_reader_that_takes_nothing_is_cut_off(parts: Parts, tmp_path: Path) -> None:
    async with door(parts, idle_timeout_seconds=0.2) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port, limit=1 << 16)
        writer.write(GET_LARGE)
        await eventually(lambda: open_files(tmp_path) == 1)
        await eventually(lambda: open_files(tmp_path) == 0)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await body_of(reader)
        writer.close()


async def test_a_body_that_is_leaving_counts_as_a_request_being_served(parts: Parts) -> None:
    async with door(parts, requests_max=1) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port, limit=1 << 16)
        writer.write(GET_LARGE)
        await reader.readexactly(1000)
        other, asking = await asyncio.open_connection("127.0.0.1", fast.port)
        asking.write(GET_LARGE)
        assert (await outcome(other, is_head=False)).status == b"HTTP/1.1 503 Service Unavailable"
        asking.write(GET_SMALL)
        assert await body_of(other) == b"small"
        asking.close()
        writer.transport.abort()


async def test_a_server_that_stops_finishes_the_body(parts: Parts) -> None:
    async with door(parts) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port, limit=1 << 16)
        writer.write(GET_LARGE)
        await asyncio.sleep(0.1)
        fast.server.stop()
        await asyncio.sleep(0.3)
        assert await body_of(reader) == LARGE
        assert await reader.read() == b""
        writer.close()


async def test_a_file_that_became_shorter_is_a_cut_answer(parts: Parts, tmp_path: Path) -> None:
    async with door(parts) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port, limit=1 << 16)
        writer.write(GET_LARGE)
        await asyncio.sleep(0.1)
        file = large_file(tmp_path)
        os.truncate(file, 20 << 20)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await body_of(reader)
        writer.close()


async def test_an_object_of_one_empty_part_is_answered(engine: Engine, parts: Parts) -> None:
    bucket = parts.buckets.known(
        BucketReference("lane"), permission=Permission.GET, principal=LOCAL_ADMINISTRATOR
    )
    assert bucket is not None
    upload = await engine.store.begin_upload(bucket, PutRequest("small"))
    part = await engine.store.put_part(bucket, upload.id, 1, PutRequest("small"), in_pieces(b""))
    await engine.store.complete_upload(bucket, "small", upload.id, Completion([PartChoice(1, part.etag)]))
    async with door(parts) as fast, connection(fast) as (reader, writer):
        for taken in (1, 2):
            writer.write(GET_SMALL)
            assert await body_of(reader) == b""
            assert fast.lane.taken == taken


async def test_what_was_not_read_yet_is_verified_on_the_ordinary_path(engine: Engine, parts: Parts) -> None:
    bucket = parts.buckets.known(
        BucketReference("lane"), permission=Permission.GET, principal=LOCAL_ADMINISTRATOR
    )
    assert bucket is not None
    await put(engine, "new", LARGE, bucket=bucket)
    always = replace(bucket, properties=BucketProperties(verify="always"))
    new, large = placed(bucket.id, b"new"), placed(bucket.id, b"large")
    beyond = RangeRequest(99 << 20, None)
    assert engine.reader.ready(bucket, new, None, with_bytes=True) is None
    assert engine.reader.ready(always, large, None, with_bytes=True) is None
    assert engine.reader.ready(bucket, large, beyond, with_bytes=True) is None
    await get(engine, "new", RangeRequest(0, 10), bucket=bucket)
    part = engine.reader.ready(bucket, new, RangeRequest(5, 1 << 19), with_bytes=True)
    assert part is not None
    close_files(part.files)
    assert engine.reader.ready(bucket, new, RangeRequest(5, 1 << 20), with_bytes=True) is None


async def test_what_the_page_cache_has_lost_is_read_before_it_is_sent(parts: Parts, tmp_path: Path) -> None:
    async with door(parts) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port, limit=1 << 16)
        file = large_file(tmp_path)
        descriptor = os.open(file, os.O_RDONLY)
        writer.write(GET_LARGE)
        await reader.readuntil(b"\r\n\r\n")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert not is_cached(descriptor, len(LARGE) - 10, len(LARGE))
        assert await reader.readexactly(len(LARGE)) == LARGE
        assert is_cached(descriptor, len(LARGE) - 10, len(LARGE))
        os.close(descriptor)
        writer.close()
