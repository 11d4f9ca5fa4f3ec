"""Several workers read one object: the same bytes, bounded memory, and never two versions mixed."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import xxhash

from shoal_client.bucket import BucketClient
from shoal_client.parallel import RANGE_TASK, ParallelObject
from shoal_core.errors import ObjectNotFound, PreconditionFailed

RANGE = 300_000
CONTENT = os.urandom(10 * RANGE + 12_345)
MIB = 1 << 20


async def streamed(reading: ParallelObject) -> bytes:
    return b"".join([bytes(piece) async for piece in reading.chunks()])


async def rest_of(pieces: AsyncIterator[memoryview], read: list[bytes]) -> None:
    async for piece in pieces:
        read.append(bytes(piece))


@pytest.mark.parametrize("size", [0, 1, RANGE - 1, RANGE, RANGE + 1, 4 * RANGE, len(CONTENT)])
@pytest.mark.parametrize("workers", [1, 3, 4])
async def test_stream_and_buffer_have_the_bytes_whatever_the_size(
    bucket: BucketClient, size: int, workers: int
) -> None:
    await bucket.put("a", CONTENT[:size])
    reading = await bucket.parallel("a", workers=workers, range_bytes=RANGE)
    assert await streamed(reading) == CONTENT[:size]
    with await reading.read_all() as buffer:
        assert bytes(buffer.memory) == CONTENT[:size]


async def test_object_that_is_overwritten_between_two_ranges_is_an_error(bucket: BucketClient) -> None:
    await bucket.put("a", CONTENT)
    pieces = (await bucket.parallel("a", workers=2, range_bytes=RANGE)).chunks()
    read = [bytes(await anext(pieces))]
    await bucket.put("a", CONTENT[::-1])
    with pytest.raises(PreconditionFailed, match="overwritten while it was read"):
        await rest_of(pieces, read)
    assert b"".join(read) == CONTENT[: RANGE * len(read)]


async def test_whole_of_an_object_that_changes_all_the_time_is_of_one_version(bucket: BucketClient) -> None:
    contents = [bytes([value]) * (3 * MIB) for value in range(8)]
    await bucket.put("a", contents[0])

    async def overwrite() -> None:
        for content in contents[1:]:
            await bucket.put("a", content)

    writing = asyncio.create_task(overwrite())
    while not writing.done():
        try:
            with await (await bucket.parallel("a", range_bytes=MIB)).read_all() as buffer:
                assert bytes(buffer.memory) in contents
        except PreconditionFailed:
            """Overwritten meanwhile, and said so."""
    await writing


async def test_object_that_is_removed_meanwhile_is_not_found(bucket: BucketClient) -> None:
    await bucket.put("a", CONTENT)
    reading = await bucket.parallel("a", range_bytes=RANGE)
    await bucket.delete("a")
    with pytest.raises(ObjectNotFound):
        await reading.read_all()


async def test_stream_that_is_left_in_the_middle_leaves_no_task(bucket: BucketClient) -> None:
    await bucket.put("a", CONTENT)
    pieces = (await bucket.parallel("a", range_bytes=RANGE)).chunks()
    await anext(pieces)
    await pieces.aclose()
    assert RANGE_TASK not in [task.get_name() for task in asyncio.all_tasks()]


@pytest.mark.parametrize(("workers", "range_bytes"), [(0, 1), (65, 1), (1, 0), (1, 2 << 30)])
async def test_senseless_numbers_are_refused(bucket: BucketClient, workers: int, range_bytes: int) -> None:
    await bucket.put("a", b"a")
    with pytest.raises(ValueError, match="use 1 to"):
        await bucket.parallel("a", workers=workers, range_bytes=range_bytes)


@pytest.mark.slow
async def test_memory_of_a_stream_is_that_of_its_ring(bucket: BucketClient, file_of_300_mib: Path) -> None:
    await bucket.put("large", file_of_300_mib)
    found = xxhash.xxh3_64()
    tracemalloc.start()
    try:
        async for piece in (await bucket.parallel("large", workers=4, range_bytes=4 * MIB)).chunks():
            found.update(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.digest() == xxhash.xxh3_64_digest(await asyncio.to_thread(file_of_300_mib.read_bytes))
    assert peak < (4 * 4 + 16) * MIB
