"""One damaged record: refused wherever somebody needs what it said, and in nobody's way who replaces or deletes it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_core.errors import DataCorrupt, ObjectNotFound
from shoal_core.objects import NO_PRECONDITIONS, Bucket, ListQuery, Preconditions
from shoal_store.engine import Engine
from shoal_store.fsck import verify
from shoal_store.keys import key_of
from shoal_store.record import Record, decode_record
from support.engines import (
    BUCKET,
    VERSIONED,
    damage_record,
    get,
    mountpath_folders,
    put,
    put_in_parts,
    rows,
    running_engine,
)

LARGE = os.urandom(50_000)
LONG = "\u00e9" * 400
BOTH_NAMES = pytest.mark.parametrize("name", ["a", LONG], ids=["short", "long"])
BOTH_BODIES = pytest.mark.parametrize("body", [b"small", LARGE], ids=["inline", "chunk"])
BOTH_BUCKETS = pytest.mark.parametrize("bucket", [BUCKET, VERSIONED], ids=["plain", "versioned"])


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


async def put_and_damage(
    engine: Engine, name: str, body: bytes, *, bucket: Bucket = BUCKET, where: int = -1
) -> bytes:
    """Beside a healthy neighbour. Returns the version, of which the record itself can tell no more."""
    await put(engine, "neighbour", b"healthy", bucket=bucket)
    info = await put(engine, name, body, bucket=bucket)
    damage_record(engine, key_of(bucket.id, name.encode()), where)
    with pytest.raises(DataCorrupt):
        await get(engine, name, bucket=bucket)
    return info.version


async def names_of(engine: Engine, bucket: Bucket) -> set[str]:
    return {info.name for info in (await engine.store.list(bucket, ListQuery())).entries}


@BOTH_NAMES
@BOTH_BODIES
@BOTH_BUCKETS
async def test_a_put_replaces_a_damaged_record_and_only_orphans_are_left(
    tmp_path: Path, name: str, body: bytes, bucket: Bucket
) -> None:
    async with running_engine(tmp_path) as engine:
        damaged = await put_and_damage(engine, name, body, bucket=bucket)
        info = await put(engine, name, body[::-1], bucket=bucket)
        assert info.version > damaged
        assert await get(engine, name, bucket=bucket) == body[::-1]
        assert await names_of(engine, bucket) == {name, "neighbour"}
    report = verify(mountpath_folders(tmp_path))
    assert (report.damages, report.orphans) == (0, 1)


@BOTH_NAMES
@BOTH_BODIES
@BOTH_BUCKETS
async def test_a_delete_removes_a_damaged_record_and_only_orphans_are_left(
    tmp_path: Path, name: str, body: bytes, bucket: Bucket
) -> None:
    async with running_engine(tmp_path) as engine:
        damaged = await put_and_damage(engine, name, body, bucket=bucket)
        await engine.store.delete(bucket, name)
        for again in (get(engine, name, bucket=bucket), engine.store.delete(bucket, name)):
            with pytest.raises(ObjectNotFound):
                await again
        assert await names_of(engine, bucket) == {"neighbour"}
        markers = [record.version for record in versions(engine) if record.delete_marker]
        assert [version > damaged for version in markers] == [True] * bucket.properties.versioning
    report = verify(mountpath_folders(tmp_path))
    assert (report.damages, report.orphans) == (0, 1)


def versions(engine: Engine) -> list[Record]:
    return [decode_record(key, value) for key, value in rows(engine, "versions")]


async def test_an_upload_is_completed_over_a_damaged_record(engine: Engine) -> None:
    await put_and_damage(engine, "a", b"small")
    await put_in_parts(engine.store, "a", LARGE)
    assert await get(engine, "a") == LARGE


@pytest.mark.parametrize(
    "conditions", [Preconditions(if_match=("*",)), Preconditions(if_none_match=("*",))], ids=["match", "none"]
)
async def test_a_condition_that_a_damaged_record_cannot_answer_is_refused(
    engine: Engine, conditions: Preconditions
) -> None:
    await put_and_damage(engine, "a", b"small")
    await assert_nothing_changes(engine, conditions)


async def test_a_record_of_a_newer_format_is_neither_replaced_nor_deleted(engine: Engine) -> None:
    await put_and_damage(engine, "a", b"small", where=0)
    await assert_nothing_changes(engine, NO_PRECONDITIONS)


async def assert_nothing_changes(engine: Engine, conditions: Preconditions) -> None:
    before = rows(engine, "records")
    with pytest.raises(DataCorrupt):
        await put(engine, "a", LARGE, preconditions=conditions)
    with pytest.raises(DataCorrupt):
        await engine.store.delete(BUCKET, "a", preconditions=conditions)
    assert rows(engine, "records") == before
