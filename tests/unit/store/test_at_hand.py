"""What of a batch a process takes at once: the first ones that are here and verified, never what it must wait for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_archive.archives import Archives
from shoal_archive.batch import AT_HAND_BYTES, HELD_BYTES_MAX, Entry, Item
from shoal_core.errors import ObjectNotFound, RangeNotSatisfiable
from shoal_store.at_hand import ItemsAtHand
from shoal_store.engine import Engine
from support.engines import BUCKET, get, put, running_engine
from support.tars import tar_of

SMALL, LARGE = os.urandom(5000), os.urandom(100_000)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


def at_hand(engine: Engine, archives: Archives | None = None) -> ItemsAtHand:
    return ItemsAtHand(lambda: lambda _name: engine.store, (archives or Archives(engine.store)).indexes)


def entries(engine: Engine, items: list[Item], archives: Archives | None = None) -> list[Entry]:
    return at_hand(engine, archives).batch(items).entries(0, len(items))


def item(name: str, member: str = "", start: int = 0, length: int = 0) -> Item:
    return Item(BUCKET, name, member, start, length)


async def content(entry: Entry) -> bytes:
    return (
        bytes(entry.data) if entry.body is None else b"".join([piece async for piece in entry.chunks("it")])
    )


async def test_what_was_never_verified_is_left_with_all_that_follows_it(engine: Engine) -> None:
    for name, data in (("a", SMALL), ("b", LARGE), ("c", SMALL)):
        await put(engine, name, data)
    items = [item("a"), item("b"), item("c")]
    assert [entry.data for entry in entries(engine, items)] == [SMALL]
    await get(engine, "b")
    assert [entry.data for entry in entries(engine, items)] == [SMALL, LARGE, SMALL]


async def test_large_ones_are_open_and_read_later(engine: Engine) -> None:
    data = os.urandom(HELD_BYTES_MAX + 300_000)
    await put(engine, "a", data)
    await get(engine, "a")
    (whole,) = entries(engine, [item("a")])
    (part,) = entries(engine, [item("a", start=7, length=HELD_BYTES_MAX + 1)])
    await engine.store.delete(BUCKET, "a")
    assert await content(whole) == data
    assert await content(part) == data[7 : 7 + HELD_BYTES_MAX + 1]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["inline", "file"])
async def test_ranges_lie_within_or_are_said_not_to(engine: Engine, data: bytes) -> None:
    await put(engine, "a", data)
    await get(engine, "a")
    ranges = [(0, 10), (100, 200), (4999, 1), (17, -1), (0, -1)]
    found = entries(engine, [item("a", start=start, length=length) for start, length in ranges])
    ends = [None if length < 0 else start + length for start, length in ranges]
    assert [entry.data for entry in found] == [
        data[start:end] for (start, _), end in zip(ranges, ends, strict=True)
    ]
    beyond = [(0, len(data) + 1), (len(data), 1), (len(data), -1)]
    found = entries(engine, [item("a", start=start, length=length) for start, length in beyond])
    assert [type(entry.error) for entry in found] == [RangeNotSatisfiable] * 3


async def test_what_is_missing_does_not_hold_up_what_follows(engine: Engine) -> None:
    await put(engine, "a", SMALL)
    missing, found = entries(engine, [item("none"), item("a")])
    assert isinstance(missing.error, ObjectNotFound)
    assert found.data == SMALL
    assert at_hand(engine).batch([item("a"), item("none")]).unknown(0, 2) == [1]


async def test_no_more_is_taken_than_fits_into_a_cache(engine: Engine) -> None:
    await put(engine, "a", bytes(32_768))
    assert len(entries(engine, [item("a")] * 100)) == AT_HAND_BYTES // 32_768


async def test_members_come_once_the_shard_is_known(engine: Engine) -> None:
    members = {f"{number}": os.urandom(1000 + number) for number in range(50)}
    await put(engine, "s.tar", tar_of(members))
    archives, items = Archives(engine.store), [item("s.tar", name) for name in members]
    assert not entries(engine, items, archives)
    await archives.members(BUCKET, "s.tar")
    await get(engine, "s.tar")
    found = entries(engine, [*items, item("s.tar", "3", start=3, length=5)], archives)
    assert [entry.data for entry in found] == [*members.values(), members["3"][3:8]]
    await put(engine, "s.tar", tar_of({"0": b"another"}))
    assert not entries(engine, items, archives)


async def test_buckets_that_verify_every_read_leave_files_to_who_does(engine: Engine) -> None:
    bucket = replace(BUCKET, properties=replace(BUCKET.properties, verify="always"))
    await put(engine, "a", LARGE, bucket=bucket)
    await get(engine, "a")
    assert not entries(engine, [Item(bucket, "a")])


async def test_a_damaged_payload_is_not_given_away(engine: Engine) -> None:
    info = await put(engine, "a", SMALL)
    for index in engine.indexes.values():
        with index.write() as transaction:
            if transaction.get(BUCKET.id + info.version, db=index.payloads) is not None:
                transaction.put(BUCKET.id + info.version, SMALL[:-1] + b"?", db=index.payloads)
    assert not entries(engine, [item("a")])
