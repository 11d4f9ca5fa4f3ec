"""One mountpath of an engine is disabled, missing or enabled again, while the others serve."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shoal_core.errors import MountpathUnavailable, NotFound, Unavailable
from shoal_core.objects import ListQuery
from shoal_store.engine import Engine
from shoal_store.mountpath_states import MountpathState, StateBoard
from support.disk_engine import engine_on, mountpath_of
from support.engines import BUCKET, get, mountpath_folders, put

NAMES = [f"object-{number}" for number in range(24)]
LARGE = b"bytes" * 40_000


async def refused_names(engine: Engine) -> set[str]:
    refused = set()
    for name in NAMES:
        try:
            assert await get(engine, name) == b"small"
        except MountpathUnavailable:
            refused.add(name)
    return refused


def names_on(engine: Engine, mountpath: str) -> set[str]:
    found = {name for name in NAMES if mountpath_of(engine, name) == mountpath}
    assert found, "the names do not reach every mountpath"
    return found


async def test_what_lies_on_a_disabled_mountpath_is_refused_and_all_else_served(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        for name in NAMES:
            await put(engine, name, b"small")

        await engine.disable("mp2")

        assert await refused_names(engine) == names_on(engine, "mp2")
        for name in NAMES:
            if mountpath_of(engine, name) != "mp2":
                await put(engine, name, b"small")
        name = min(names_on(engine, "mp2"))
        with pytest.raises(MountpathUnavailable) as put_refused:
            await put(engine, name, b"small")
        with pytest.raises(MountpathUnavailable):
            await engine.store.delete(BUCKET, name)
        assert put_refused.value.metadata == {"mountpath": "mp2", "target": "t1", "state": "disabled"}
        assert "shoal mountpath enable t1 mp2" in put_refused.value.message
        assert str(tmp_path / "mp2") in put_refused.value.message


async def test_a_listing_does_not_come_short_of_what_lies_on_a_disabled_mountpath(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        await put(engine, NAMES[0], b"small")
        await engine.disable("mp2")
        with pytest.raises(MountpathUnavailable):
            await engine.store.list(BUCKET, ListQuery())


async def test_chunks_go_to_the_available_mountpaths_only(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        await engine.disable("mp2")
        before = files_on(tmp_path / "mp2")
        names = [name for name in NAMES if mountpath_of(engine, name) != "mp2"][:6]
        for name in names:
            await put(engine, name, LARGE)
        assert [await get(engine, name) for name in names] == [LARGE] * len(names)
        assert files_on(tmp_path / "mp2") == before


async def test_an_object_whose_chunk_is_on_a_disabled_mountpath_is_refused_but_may_be_replaced(
    tmp_path: Path,
) -> None:
    async with engine_on(tmp_path) as engine:
        for name in NAMES:
            await put(engine, name, LARGE)
        name, chunk_place = await chunk_elsewhere(engine)
        await engine.disable(chunk_place)

        with pytest.raises(MountpathUnavailable):
            await get(engine, name)
        assert (await engine.store.head(BUCKET, name)).size == len(LARGE)
        left = files_on(tmp_path / chunk_place)
        await put(engine, name, b"small")

        assert await get(engine, name) == b"small"
        assert files_on(tmp_path / chunk_place) == left


async def chunk_elsewhere(engine: Engine) -> tuple[str, str]:
    """An object whose chunk is on another mountpath than its record."""
    for name in NAMES:
        record, _ = await asyncio.to_thread(engine.reader.record, BUCKET, name)
        if record.chunks[0].mountpath != mountpath_of(engine, name):
            return name, record.chunks[0].mountpath
    raise AssertionError("every chunk lies beside its record")


def files_on(mountpath: Path) -> set[Path]:
    return {path for path in (mountpath / "data").rglob("*") if path.is_file()}


async def test_a_disabled_mountpath_stays_so_over_a_restart_until_it_is_enabled(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        for name in NAMES:
            await put(engine, name, b"small")
        await engine.disable("mp2")
    (tmp_path / "mp2").rename(tmp_path / "away")

    async with engine_on(tmp_path) as engine:
        assert await refused_names(engine) == names_on(engine, "mp2")
        (tmp_path / "mp2").rmdir()
        (tmp_path / "away").rename(tmp_path / "mp2")
        await engine.enable("mp2")
        assert await refused_names(engine) == set()
        await put(engine, min(names_on(engine, "mp2")), b"small")

    async with engine_on(tmp_path) as engine:
        assert await refused_names(engine) == set()


async def test_a_start_without_one_disk_serves_the_others_and_makes_no_new_mountpath(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        for name in NAMES:
            await put(engine, name, b"small")
    (tmp_path / "mp3").rename(tmp_path / "away")

    async with engine_on(tmp_path) as engine:
        assert engine.states.of("mp3").state is MountpathState.FAILED
        assert "is its disk mounted?" in engine.states.of("mp3").reason
        assert await refused_names(engine) == names_on(engine, "mp3")
        assert list((tmp_path / "mp3").iterdir()) == []
        with pytest.raises(Unavailable, match="is its disk mounted"):
            await engine.enable("mp3")
        assert await refused_names(engine) == names_on(engine, "mp3")
    (tmp_path / "mp3").rmdir()
    (tmp_path / "away").rename(tmp_path / "mp3")

    async with engine_on(tmp_path) as engine:
        assert await refused_names(engine) == set()


async def test_a_start_without_any_disk_says_so(tmp_path: Path) -> None:
    async with engine_on(tmp_path):
        pass
    for number in (1, 2, 3):
        (tmp_path / f"mp{number}").rename(tmp_path / f"away{number}")
    with pytest.raises(Unavailable, match="is its disk mounted"):
        async with engine_on(tmp_path):
            pass


async def test_a_reader_beside_the_target_sees_each_change_at_once(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        await engine.disable("mp1")
        folders = mountpath_folders(tmp_path, 3)
        board = StateBoard.shared(folders, tmp_path / "board")
        # LMDB opens an environment once in a process, so only what reads no index can be looked at here.
        assert not board.is_available("mp1")
        await engine.enable("mp1")
        assert board.is_available("mp1")
        await engine.disable("mp2")
        assert board.of("mp2") is MountpathState.DISABLED


async def test_a_mountpath_that_nobody_knows_is_not_found(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        with pytest.raises(NotFound, match="mp1, mp2, mp3"):
            await engine.disable("mp9")
