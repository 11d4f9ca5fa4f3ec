"""Reading back: ranges against a model, damage that is found before it is served, and overwrites while one reads."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core.errors import DataCorrupt, ObjectNotFound, RangeNotSatisfiable, StaleEpoch, Unavailable
from shoal_core.objects import FRAME_BYTES, NO_PRECONDITIONS, Bucket, BucketProperties, RangeRequest
from shoal_core.placement import SLOTS
from shoal_store.chunkfile import BLOCK_BYTES
from shoal_store.engine import Engine
from shoal_store.reader import StoreReader
from shoal_store.record import Record
from shoal_store.stored_body import OpenPart
from shoal_store.window import WINDOW_ENTRIES_MAX, VerifiedWindow
from support.engines import BUCKET, get, put, put_in_chunks, running_engine, settled, stored

LARGE = os.urandom(3 * BLOCK_BYTES + 12_345)
SMALL = os.urandom(5_000)
ALWAYS = replace(BUCKET, properties=BucketProperties(verify="always"))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes((byte ^ 1,)))


def ranges(size: int, borders: list[int]) -> list[RangeRequest]:
    """Every pair of places just around the borders, and a hundred at random."""
    chosen = random.Random(size)
    places = sorted(
        {place for border in borders for place in (border - 1, border, border + 1) if 0 <= place < size}
    )
    pairs = [(first, last) for first in places for last in places if first <= last]
    for _ in range(100):
        first = chosen.randrange(size)
        pairs.append((first, chosen.randrange(first, size)))
    return [RangeRequest(first, last) for first, last in chosen.sample(pairs, min(len(pairs), 150))]


async def check_ranges(engine: Engine, name: str, data: bytes, borders: list[int]) -> None:
    for wanted in ranges(len(data), borders):
        assert wanted.first is not None
        assert wanted.last is not None
        assert await get(engine, name, wanted) == data[wanted.first : wanted.last + 1], wanted


async def test_ranges_over_block_borders_are_the_bytes_asked_for(engine: Engine) -> None:
    await put(engine, "a", LARGE)
    await check_ranges(engine, "a", LARGE, [0, BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES, len(LARGE)])


@pytest.mark.parametrize("chunk_bytes", [BLOCK_BYTES, 700_001, BLOCK_BYTES + 5])
async def test_ranges_over_chunk_borders_are_the_bytes_asked_for(engine: Engine, chunk_bytes: int) -> None:
    await put_in_chunks(engine, "a", LARGE, chunk_bytes)
    borders = [*range(0, len(LARGE), chunk_bytes), BLOCK_BYTES, len(LARGE)]
    await check_ranges(engine, "a", LARGE, borders)


async def test_ranges_of_an_inline_object_are_the_bytes_asked_for(engine: Engine) -> None:
    await put(engine, "a", SMALL)
    await check_ranges(engine, "a", SMALL, [0, 2500, len(SMALL)])


@pytest.mark.parametrize("data", [SMALL, LARGE])
async def test_open_ended_and_suffix_ranges_end_with_the_object(engine: Engine, data: bytes) -> None:
    await put(engine, "a", data)
    assert await get(engine, "a", RangeRequest(1000, None)) == data[1000:]
    assert await get(engine, "a", RangeRequest(None, 1000)) == data[-1000:]
    assert await get(engine, "a", RangeRequest(None, 1 << 40)) == data
    assert await get(engine, "a", RangeRequest(10, 1 << 40)) == data[10:]


@pytest.mark.parametrize("data", [b"", SMALL, LARGE])
async def test_a_range_behind_the_end_is_refused_with_the_size(engine: Engine, data: bytes) -> None:
    await put(engine, "a", data)
    with pytest.raises(RangeNotSatisfiable) as caught:
        await get(engine, "a", RangeRequest(len(data), None))
    assert caught.value.metadata["size"] == str(len(data))


async def test_pieces_are_no_larger_than_a_frame(engine: Engine) -> None:
    await put_in_chunks(engine, "a", LARGE, BLOCK_BYTES + 5)
    body = await engine.store.open(BUCKET, "a", range=RangeRequest(7, None))
    sizes = [len(piece) async for piece in body.chunks()]
    await body.close()
    assert max(sizes) <= FRAME_BYTES
    assert min(sizes) > 0


@pytest.mark.parametrize("bucket", [BUCKET, ALWAYS])
@pytest.mark.parametrize("block", [0, 1, 3])
async def test_a_flipped_byte_is_found_before_its_block_is_served(
    engine: Engine, tmp_path: Path, block: int, bucket: Bucket
) -> None:
    await put(engine, "a", LARGE)
    (file,) = stored(tmp_path)
    flip(file, block * BLOCK_BYTES + 77)
    body = await engine.store.open(bucket, "a")
    pieces = body.chunks()
    received = b"".join([await anext(pieces) for _ in range(block)])
    with pytest.raises(DataCorrupt, match="fsck"):
        await anext(pieces)
    await body.close()
    assert received == LARGE[: block * BLOCK_BYTES]


async def test_a_damaged_block_is_found_by_a_range_that_avoids_the_damage(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    (file,) = stored(tmp_path)
    flip(file, BLOCK_BYTES + 77)
    assert await get(engine, "a", RangeRequest(0, BLOCK_BYTES - 1)) == LARGE[:BLOCK_BYTES]
    with pytest.raises(DataCorrupt):
        await get(engine, "a", RangeRequest(BLOCK_BYTES + 100, BLOCK_BYTES + 200))


async def test_a_block_once_verified_is_verified_again_only_where_the_bucket_says_always(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    assert await get(engine, "a") == LARGE
    (file,) = stored(tmp_path)
    flip(file, 77)
    assert await get(engine, "a") != LARGE
    with pytest.raises(DataCorrupt):
        await get(engine, "a", bucket=ALWAYS)


def test_the_window_of_verified_blocks_is_bounded_and_forgets_the_oldest() -> None:
    window = VerifiedWindow()
    for block in range(WINDOW_ENTRIES_MAX + 1):
        window.add(b"file", block, block_bytes=BLOCK_BYTES)
    assert not window.holds(b"file", 0)
    assert window.holds(b"file", 1)
    assert window.holds(b"file", WINDOW_ENTRIES_MAX)
    assert not window.holds(b"other", 1)


async def test_a_truncated_chunk_file_is_damage(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a", LARGE)
    (file,) = stored(tmp_path)
    os.truncate(file, BLOCK_BYTES)
    with pytest.raises(DataCorrupt):
        await get(engine, "a")


async def test_a_chunk_file_that_is_another_chunk_is_damage(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a", LARGE)
    (first,) = stored(tmp_path)
    await put(engine, "b", LARGE[::-1])
    (second,) = set(stored(tmp_path)) - {first}
    second.replace(first)
    with pytest.raises(DataCorrupt):
        await get(engine, "a")


async def test_a_missing_chunk_file_is_damage_and_not_a_missing_object(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    (file,) = stored(tmp_path)
    file.unlink()
    with pytest.raises(DataCorrupt, match="missing"):
        await get(engine, "a")


async def test_a_chunk_file_that_cannot_be_opened_says_to_look_at_the_disk(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    (file,) = stored(tmp_path)
    file.unlink()
    file.symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="look at the disk"):
        await get(engine, "a")


async def test_a_chunk_file_that_cannot_be_read_says_to_look_at_the_disk(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    body = await engine.store.open(BUCKET, "a")
    for descriptor in descriptors_of(stored(tmp_path)[0]):
        # Reading from a folder fails, as reading from a broken disk does.
        folder = os.open(tmp_path, os.O_RDONLY)
        os.dup2(folder, descriptor)
        os.close(folder)
    with pytest.raises(Unavailable, match="look at the disk"):
        _ = [piece async for piece in body.chunks()]
    await body.close()


def descriptors_of(path: Path) -> list[int]:
    """The descriptors of this process that are open on the file."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == path:
                found.append(int(entry.name))
        except FileNotFoundError:
            continue
    return found


async def test_a_flipped_byte_of_an_inline_payload_is_found(engine: Engine) -> None:
    info = await put(engine, "a", SMALL)
    index = engine.indexes[info.location.partition(":")[2]]
    with index.write() as transaction:
        transaction.put(BUCKET.id + info.version, SMALL[:-1] + b"?", db=index.payloads)
    with pytest.raises(DataCorrupt, match="checksum"):
        await get(engine, "a")


async def test_a_missing_inline_payload_is_damage(engine: Engine) -> None:
    info = await put(engine, "a", SMALL)
    index = engine.indexes[info.location.partition(":")[2]]
    with index.write() as transaction:
        transaction.delete(BUCKET.id + info.version, db=index.payloads)
    with pytest.raises(DataCorrupt):
        await get(engine, "a")


async def test_an_open_body_is_read_to_its_end_although_the_object_was_overwritten(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "a", LARGE)
    (old,) = stored(tmp_path)
    body = await engine.store.open(BUCKET, "a")
    await put(engine, "a", LARGE[::-1])
    await settled(engine)
    assert not old.exists()
    assert b"".join([piece async for piece in body.chunks()]) == LARGE
    await body.close()
    assert await get(engine, "a") == LARGE[::-1]


class OvertakenReader(StoreReader):
    """Has looked a record up, and opens the files only when `go_on` is set."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.mountpaths, engine.indexes, target="t1")
        self.looked_up, self.go_on = threading.Event(), threading.Event()

    def _open_chunks(self, record: Record, start: int, length: int, parts: list[OpenPart]) -> None:
        self.looked_up.set()
        assert self.go_on.wait(10)
        super()._open_chunks(record, start, length, parts)


@pytest.mark.parametrize("new", [b"small now", LARGE[::-1]])
async def test_a_reader_whose_files_vanish_behind_its_look_up_reads_the_new_version(
    engine: Engine, new: bytes
) -> None:
    await put(engine, "a", LARGE)
    reader = OvertakenReader(engine)
    opening = asyncio.create_task(reader.open(BUCKET, "a", None, NO_PRECONDITIONS))
    assert await asyncio.to_thread(reader.looked_up.wait, 10)
    await put(engine, "a", new)
    await settled(engine)
    reader.go_on.set()
    body = await opening
    assert b"".join([piece async for piece in body.chunks()]) == new
    await body.close()


async def test_a_reader_whose_object_is_deleted_behind_its_look_up_finds_none(engine: Engine) -> None:
    await put(engine, "a", LARGE)
    reader = OvertakenReader(engine)
    opening = asyncio.create_task(reader.open(BUCKET, "a", None, NO_PRECONDITIONS))
    assert await asyncio.to_thread(reader.looked_up.wait, 10)
    await engine.store.delete(BUCKET, "a")
    await settled(engine)
    reader.go_on.set()
    with pytest.raises(ObjectNotFound):
        await opening


async def test_no_descriptor_stays_open_when_one_of_several_chunks_is_missing(
    engine: Engine, tmp_path: Path
) -> None:
    written = await put_in_chunks(engine, "a", LARGE, BLOCK_BYTES)
    written.files[2].unlink()
    with pytest.raises(DataCorrupt):
        await get(engine, "a")
    assert [descriptors_of(file) for file in written.files[:2]] == [[], []]


async def test_an_object_of_a_slot_that_is_not_held_is_not_read(engine: Engine) -> None:
    await put(engine, "a", SMALL)
    engine.own(2, bytes(SLOTS // 8))
    with pytest.raises(StaleEpoch) as caught:
        await get(engine, "a")
    assert caught.value.metadata["epoch"] == "2"
    with pytest.raises(StaleEpoch):
        await engine.store.head(BUCKET, "a")


async def test_a_range_opens_only_the_chunks_that_it_touches(engine: Engine) -> None:
    written = await put_in_chunks(engine, "a", LARGE, BLOCK_BYTES)
    for path in (written.files[0], written.files[2]):
        path.unlink()
    second = RangeRequest(BLOCK_BYTES, 2 * BLOCK_BYTES - 1)
    assert await get(engine, "a", second) == LARGE[BLOCK_BYTES : 2 * BLOCK_BYTES]
    with pytest.raises(DataCorrupt):
        await get(engine, "a", RangeRequest(BLOCK_BYTES - 1, BLOCK_BYTES))
