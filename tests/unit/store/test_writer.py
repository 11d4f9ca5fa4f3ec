"""Bodies on their way to the disk: where they go, when they are refused, and that nothing stays of those."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import xxhash

from shoal_core.errors import ChecksumMismatch, InvalidArgument, OutOfSpace, SizeMismatch
from shoal_core.objects import BucketProperties, Checksum, PutRequest
from shoal_store import chunkwriter
from shoal_store.chunkfile import BLOCK_BYTES
from shoal_store.engine import Engine
from shoal_store.manifest import decode_manifest
from shoal_store.writer import INLINE_BYTES_MAX
from support.engines import BUCKET, get, in_pieces, put, put_in_chunks, running_engine, settled, stored

LARGE = os.urandom(2 * BLOCK_BYTES + 12_345)


class Vanished(Exception):
    """What a client's connection raises when it is gone."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


async def test_a_body_of_32768_bytes_makes_no_file_and_one_more_byte_does(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "small", os.urandom(INLINE_BYTES_MAX))
    assert stored(tmp_path) == []
    await put(engine, "large", large := os.urandom(INLINE_BYTES_MAX + 1))
    assert len(stored(tmp_path)) == 1
    assert await get(engine, "large") == large


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, BLOCK_BYTES, len(LARGE)])
async def test_a_body_without_announced_size_is_kept_whole(engine: Engine, size: int) -> None:
    info = await engine.store.put(BUCKET, PutRequest("unannounced"), in_pieces(LARGE[:size]))
    assert info.size == size
    assert await get(engine, "unannounced") == LARGE[:size]


async def test_pieces_of_any_size_are_kept_in_their_order(engine: Engine) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        ends = (
            0,
            0,
            1,
            1,
            70_000,
            70_001,
            200_000,
            200_000,
            200_001,
            BLOCK_BYTES,
            2 * BLOCK_BYTES,
            len(LARGE),
        )
        for start, end in pairwise(ends):
            yield LARGE[start:end]

    await engine.store.put(BUCKET, PutRequest("a"), pieces())
    assert await get(engine, "a") == LARGE


async def test_an_error_of_the_disk_is_raised_although_the_body_goes_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutOfSpace("the disk is full")

    monkeypatch.setattr(chunkwriter, "write_all", fail)
    with pytest.raises(OutOfSpace):
        await put(engine, "a", LARGE)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("announced", [0, 99, 101, BLOCK_BYTES])
async def test_a_small_body_of_another_size_than_announced_is_refused(
    engine: Engine, tmp_path: Path, announced: int
) -> None:
    with pytest.raises(SizeMismatch) as caught:
        await engine.store.put(BUCKET, PutRequest("a", announced), in_pieces(b"x" * 100))
    assert caught.value.metadata["announced"] == str(announced)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("difference", [-BLOCK_BYTES, -1, 1, BLOCK_BYTES])
async def test_a_large_body_of_another_size_than_announced_leaves_nothing(
    engine: Engine, tmp_path: Path, difference: int
) -> None:
    with pytest.raises(SizeMismatch):
        await engine.store.put(BUCKET, PutRequest("a", len(LARGE) + difference), in_pieces(LARGE))
    assert stored(tmp_path) == []


async def test_a_body_that_is_longer_than_announced_is_not_read_to_its_end(engine: Engine) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(SizeMismatch):
        await engine.store.put(BUCKET, PutRequest("a", 5000), endless())
    assert taken == 6


@pytest.mark.parametrize("size", [0, 100, INLINE_BYTES_MAX + 1, len(LARGE)])
async def test_a_wrong_checksum_is_refused_and_the_old_object_stays(
    engine: Engine, tmp_path: Path, size: int
) -> None:
    await put(engine, "a", b"old")
    request = PutRequest("a", checksums=(Checksum("sha256", "0" * 64),))
    with pytest.raises(ChecksumMismatch):
        await engine.store.put(BUCKET, request, in_pieces(LARGE[:size]))
    assert stored(tmp_path) == []
    assert await get(engine, "a") == b"old"


async def test_a_right_checksum_in_capital_letters_is_accepted(engine: Engine) -> None:
    value = xxhash.xxh64(LARGE, seed=0).hexdigest()
    request = PutRequest("a", checksums=(Checksum("xxhash2", value.upper()),))
    info = await engine.store.put(BUCKET, request, in_pieces(LARGE))
    assert info.checksum == Checksum("xxhash2", value)


async def test_an_unknown_checksum_type_is_refused(engine: Engine) -> None:
    request = PutRequest("a", checksums=(Checksum("crc1", "00"),))
    with pytest.raises(InvalidArgument, match="crc1"):
        await engine.store.put(BUCKET, request, in_pieces(b"data"))


@pytest.mark.parametrize("size", [100, INLINE_BYTES_MAX + 1, len(LARGE)])
async def test_a_body_that_breaks_off_leaves_nothing(engine: Engine, tmp_path: Path, size: int) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for piece in in_pieces(LARGE[:size]):
            yield piece
        raise Vanished

    with pytest.raises(Vanished):
        await engine.store.put(BUCKET, PutRequest("a", size + 1), breaking())
    assert stored(tmp_path) == []


@pytest.mark.parametrize("size", [100, len(LARGE)])
async def test_a_cancelled_write_leaves_nothing(engine: Engine, tmp_path: Path, size: int) -> None:
    waiting = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield LARGE[:size]
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(engine.store.put(BUCKET, PutRequest("a"), stalling()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(tmp_path) == []


@pytest.mark.parametrize("turns", range(1, 40, 3))
async def test_a_write_cancelled_at_any_turn_leaves_the_object_or_nothing(
    engine: Engine, tmp_path: Path, turns: int
) -> None:
    task = asyncio.create_task(put(engine, "a", LARGE))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await put(engine, "a", b"behind it in the same queue")
    await settled(engine)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("chunk_bytes", [BLOCK_BYTES, BLOCK_BYTES + 1, 700_001, len(LARGE) - 1])
async def test_a_body_in_several_chunks_lies_on_all_mountpaths_and_is_read_back(
    engine: Engine, tmp_path: Path, chunk_bytes: int
) -> None:
    written = await put_in_chunks(engine, "a", LARGE, chunk_bytes)
    chunks = written.record.chunks
    assert [chunk.length for chunk in chunks[:-1]] == [chunk_bytes] * (len(chunks) - 1)
    assert sum(chunk.length for chunk in chunks) == len(LARGE)
    assert {chunk.mountpath for chunk in chunks} == {"mp1", "mp2"}
    assert await get(engine, "a") == LARGE


@pytest.mark.parametrize("name", ["short", "é" * 500])
async def test_several_chunks_come_with_a_manifest_that_names_them(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    written = await put_in_chunks(engine, name, LARGE, BLOCK_BYTES)
    (manifest,) = (path for path in stored(tmp_path) if path.suffix == ".manifest")
    key, record = decode_manifest(manifest.read_bytes())
    assert key.startswith(BUCKET.id)
    assert record.chunks == written.record.chunks
    assert record.name == (name if len(name.encode()) > 440 else "")


async def test_a_body_that_ends_at_a_chunk_border_makes_no_empty_chunk(engine: Engine) -> None:
    written = await put_in_chunks(engine, "a", LARGE[: 2 * BLOCK_BYTES], BLOCK_BYTES)
    assert [chunk.length for chunk in written.record.chunks] == [BLOCK_BYTES, BLOCK_BYTES]
    assert await get(engine, "a") == LARGE[: 2 * BLOCK_BYTES]


async def test_a_wrong_checksum_of_a_body_in_several_chunks_leaves_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    request = PutRequest("a", checksums=(Checksum("md5", "0" * 32),))
    with pytest.raises(ChecksumMismatch):
        await engine.writer.write(BUCKET, request, in_pieces(LARGE), chunk_bytes=500_000)
    assert stored(tmp_path) == []


async def test_discarding_a_body_removes_its_chunks_and_manifest(engine: Engine, tmp_path: Path) -> None:
    written = await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(LARGE), chunk_bytes=500_000)
    assert len(stored(tmp_path)) > 2
    written.discard()
    assert stored(tmp_path) == []


async def test_a_body_is_kept_without_syncs_where_the_bucket_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr("shoal_store.chunkwriter.sync_data", lambda _, label: synced.append(label))
    monkeypatch.setattr("shoal_store.chunkwriter.sync_directory", lambda _, label: synced.append(label))
    bucket = replace(BUCKET, properties=BucketProperties(durability="os"))
    await put(engine, "a", LARGE, bucket=bucket)
    assert synced == []
    await put(engine, "a", LARGE)
    assert synced == ["chunk data", "chunk name"]
