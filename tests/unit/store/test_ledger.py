"""The ledger of an index: whatever page its disk has lost, no orphan is made of what that page named."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import lmdb
import msgspec
import pytest

from shoal_core.errors import DataCorrupt, MountpathUnavailable, ShoalError, Unavailable
from shoal_core.objects import PutRequest
from shoal_store.engine import Engine
from shoal_store.fsck import verify
from shoal_store.index import FORMAT_WITHOUT_LEDGER, TABLES, Index
from shoal_store.index_copying import copied
from shoal_store.ledger import KEY, SUMMED, Ledger
from shoal_store.mountpath_states import MountpathState
from shoal_store.orphans import DamagedRows, proved
from shoal_store.rebuild import rebuild_index
from shoal_store.scrub import scrub
from support.damage_points import apart
from support.damages import PAGE, get_page, put_page
from support.engines import (
    BUCKET,
    VERSIONED,
    get,
    in_pieces,
    mountpath_folders,
    name_kept_by,
    put,
    put_in_parts,
    rows,
    running_engine,
    stored,
    unstarted_engine,
)

OBJECTS = 60
FOUND_MIN = 3
"""Of the two dozen pages that such a workload writes, half belong to no table any more."""
INDEX = Path("mp1/index/data.mdb")


async def store_states(folder: Path) -> tuple[Path, Path]:
    """Two states of a store, each synced: objects put, overwritten and deleted, an upload begun and continued."""
    before, after = folder / "before", folder / "after"
    chance = random.Random(1)
    async with running_engine(after, mountpaths=1) as engine:
        await asyncio.gather(
            *(put(engine, f"object-{number:03}", b"1" * 33_000) for number in range(OBJECTS))
        )
        upload = await engine.store.begin_upload(BUCKET, PutRequest("upload"))
    shutil.copytree(after, before)
    async with running_engine(after, mountpaths=1) as engine:
        for number in range(OBJECTS):
            match chance.choice(["kept", "overwritten", "deleted"]):
                case "overwritten":
                    await put(engine, f"object-{number:03}", b"2" * 33_000)
                case "deleted":
                    await engine.store.delete(BUCKET, f"object-{number:03}")
                    await put(engine, f"object-{number:03}-new", b"2" * 33_000)
        await engine.store.put_part(BUCKET, upload.id, 1, PutRequest("upload"), in_pieces(b"2" * 33_000))
        await put(engine, "versioned", b"2" * 33_000, bucket=VERSIONED)
        await put(engine, "versioned", b"3" * 33_000, bucket=VERSIONED)
    return before, after


def lost_writes(before: Path, after: Path) -> list[int]:
    """The pages of the index, but for LMDB's two meta pages, that were written since."""
    pages = (before / INDEX).stat().st_size // PAGE
    return [
        page for page in range(2, pages) if get_page(before / INDEX, page) != get_page(after / INDEX, page)
    ]


def named_by(engine: Engine) -> list[bytes]:
    return sorted(value for table in SUMMED for _, value in rows(engine, table))


class Seen(msgspec.Struct):
    """Of a store after a lost write."""

    wrong: list[str] = []
    opened: bool = True
    named: list[bytes] = []
    collected: int = 0
    refused: bool = False
    scrubbed: int = 0
    damages: int = 0


def seen(folder: Path) -> Seen:
    try:
        engine = unstarted_engine(mountpath_folders(folder, 1))
    except ShoalError:
        return Seen(opened=False)
    found = Seen()
    try:
        found.collected = sum(step.removed for step in engine.collect_orphans(age_seconds_min=0))
    except (DataCorrupt, MountpathUnavailable):
        found.refused = True
    found.scrubbed = sum(len(step.findings) for step in scrub(engine.indexes, engine.mountpaths))
    with suppress(DataCorrupt):
        found.named = named_by(engine)
    engine.close()
    found.damages = verify(mountpath_folders(folder, 1)).damages
    return found


@pytest.mark.slow
async def test_whatever_page_of_an_index_is_in_an_older_state_it_is_found_and_nothing_is_collected(
    tmp_path: Path,
) -> None:
    before, after = await store_states(tmp_path)
    place = tmp_path / "place"
    files = [path.relative_to(after) for path in stored(after)]
    async with running_engine(after, mountpaths=1) as engine:
        named = named_by(engine)
    found = 0
    for page in lost_writes(before, after):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(after, place)
        put_page(place / INDEX, page, get_page(before / INDEX, page))
        look = apart(lambda: seen(place), Seen)
        assert [path.relative_to(place) for path in stored(place)] == files, page
        if isinstance(look, int) or not look.opened:
            found += 1
            continue
        assert not look.wrong, (page, look.wrong)
        if look.named != named:
            assert all((look.refused, look.scrubbed, look.damages)), (page, look)
            found += 1
    assert found > FOUND_MIN


def put_raw(index: Index, table: str, key: bytes, value: bytes) -> None:
    """Not as Shoal does it: as if the row had come back from an older page."""
    with index.write() as transaction:
        transaction.put(key, value, db=getattr(index, table))


def behind(path: Path) -> None:
    """A transaction whose page of `meta` was lost."""
    with lmdb.open(str(path / "index"), max_dbs=len(TABLES)) as environment:
        meta = environment.open_db(b"meta", create=False)
        with environment.begin(write=True) as transaction:
            transaction.put(b"clock", bytes(8), db=meta)


async def test_the_ledger_follows_commits_of_every_kind(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        for bucket in (BUCKET, VERSIONED):
            for data in (b"1", b"2" * 33_000):
                await put(engine, "object", data, bucket=bucket)
            await engine.store.annotate(bucket, "object", {"a": "b"}, replace=False)
            await engine.store.delete(bucket, "object")
        await put_in_parts(engine.store, "parts", b"3" * 33_000)
        upload = await engine.store.begin_upload(BUCKET, PutRequest("upload"))
        for data in (b"4", b"5"):
            await engine.store.put_part(BUCKET, upload.id, 1, PutRequest("upload"), in_pieces(data))
        proved(engine.indexes["mp1"])
        await engine.store.abort_upload(BUCKET, "upload", upload.id)
        proved(engine.indexes["mp1"])
        assert sum(ledger_of(engine.indexes["mp1"]).sums.values())


def ledger_of(index: Index) -> Ledger:
    with index.read() as transaction:
        found = index.ledger(transaction)
        assert found is not None
        assert found.transaction == transaction.id()
        return found


async def test_a_row_that_comes_back_is_found_and_stays_found_after_later_commits(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "object", b"1" * 33_000)
        ((key, older),) = rows(engine, "records")
        await put(engine, "object", b"2" * 33_000)
        index = engine.indexes["mp1"]
        put_raw(index, "records", key, older)
        for _ in range(2):
            with pytest.raises(DamagedRows, match="lost-rows"):
                proved(index)
            await put(engine, "object", b"3" * 33_000)


async def test_an_index_that_lost_rows_is_not_copied_and_what_it_named_is_nobodys_orphan(
    tmp_path: Path,
) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "object", b"1" * 33_000)
        ((key, older),) = rows(engine, "records")
        await put(engine, "object", b"2" * 33_000)
        put_raw(engine.indexes["mp1"], "records", key, older)
    kinds = [finding.kind for finding in verify(mountpath_folders(tmp_path, 1)).findings]
    assert kinds == ["lost-rows", "missing-chunk"]
    with pytest.raises(DataCorrupt, match="lost rows"):
        copied(tmp_path / "mp1", tmp_path / "copy", bytes_per_second=1e9)


def without_a_table(path: Path) -> None:
    """As when the page that names the tables was never written."""
    with lmdb.open(str(path / "index"), max_dbs=len(TABLES)) as environment:
        records = environment.open_db(b"records", create=False)
        with environment.begin(write=True) as transaction:
            transaction.drop(records)


@pytest.mark.parametrize("damage", [behind, without_a_table])
async def test_a_start_leaves_out_the_mountpath_whose_index_is_not_whole_and_a_rebuild_brings_it_back(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folders = mountpath_folders(tmp_path)
    async with running_engine(tmp_path) as engine:
        kept = {name_kept_by(engine, "mp1"): b"1" * 33_000, name_kept_by(engine, "mp2"): b"2"}
        for name, data in kept.items():
            await put(engine, name, data)
    damage(folders["mp1"])
    assert [finding.kind for finding in verify(folders).findings] == ["damaged-index"]
    async with running_engine(tmp_path) as engine:
        assert engine.states.board.of("mp1") is MountpathState.FAILED
        assert await get(engine, name_kept_by(engine, "mp2")) == b"2"
        with pytest.raises(MountpathUnavailable):
            list(engine.collect_orphans(age_seconds_min=0))
    rebuild_index(folders, "mp1", target="t1")
    async with running_engine(tmp_path) as engine:
        for name, data in kept.items():
            assert await get(engine, name) == data
        for index in engine.indexes.values():
            proved(index)


def test_an_index_that_falls_behind_while_it_is_open_takes_no_writes(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    met: list[str] = []
    with closing(Index("mp1", tmp_path, writable=True, met=met.append)) as index:
        with index.write() as transaction:
            before = bytes(transaction.get(KEY, b"", db=index.meta))
        with index._transaction() as transaction:
            transaction.put(KEY, before, db=index.meta)
        with pytest.raises(Unavailable, match="older state"), index.write():
            """Never begun."""
    assert len(met) == 1


async def test_an_index_without_a_ledger_is_read_as_it_is_and_gets_one_when_it_is_opened_to_write(
    tmp_path: Path,
) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "object", b"1" * 33_000)
    path = tmp_path / "mp1"
    with lmdb.open(str(path / "index"), max_dbs=len(TABLES)) as environment:
        meta = environment.open_db(b"meta", create=False)
        with environment.begin(write=True) as transaction:
            transaction.put(b"format", bytes((FORMAT_WITHOUT_LEDGER,)), db=meta)
            transaction.delete(KEY, db=meta)
    assert verify(mountpath_folders(tmp_path, 1)).clean
    assert copied(path, tmp_path / "copy", bytes_per_second=1e9).rows
    async with running_engine(tmp_path, mountpaths=1) as engine:
        proved(engine.indexes["mp1"])
        assert ledger_of(engine.indexes["mp1"]).sums["records"]
