"""A disk that is full: refused in one sentence, nothing left behind, old objects intact, and on again with space."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shoal_core.errors import ObjectNotFound, OutOfSpace
from shoal_store.engine import Engine, open_engine
from shoal_store.fsck import verify
from support.engines import (
    BUCKET,
    Fence,
    get,
    mountpath_folders,
    put,
    put_in_chunks,
    running_engine,
    settled,
    stored,
)
from support.stores import CLUSTER_ID

DISK_BYTES = 6 << 20
LARGE = os.urandom(1 << 20)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "disk", DISK_BYTES)


@pytest.fixture
def larger_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "larger", 96 << 20)


def mounted(path: Path, size: int) -> Iterator[Path]:
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only an administrator may mount a small disk")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
async def engine(disk: Path) -> AsyncIterator[Engine]:
    async with running_engine(disk, mountpaths=1) as engine:
        yield engine


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Take all the space but `leave` bytes; remove the file to give it back."""
    path = disk / "ballast"
    with path.open("ab", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(file.tell() - leave)
    return path


async def test_a_body_that_does_not_fit_leaves_nothing_and_the_old_object(engine: Engine, disk: Path) -> None:
    await put(engine, "a", LARGE)
    before = stored(disk)
    for chunk_bytes in (DISK_BYTES, 300_000):
        with pytest.raises(OutOfSpace, match="disk is full; delete objects or add space"):
            await put_in_chunks(engine, "a", os.urandom(DISK_BYTES), chunk_bytes)
        assert stored(disk) == before
    assert await get(engine, "a") == LARGE


async def test_a_body_fits_again_when_an_object_was_deleted(engine: Engine) -> None:
    for name in ("a", "b", "c"):
        await put(engine, name, LARGE)
    with pytest.raises(OutOfSpace):
        await put(engine, "d", LARGE * 3)
    for name in ("a", "b"):
        await engine.store.delete(BUCKET, name)
    await settled(engine)
    await put(engine, "d", LARGE * 3)
    assert await get(engine, "d") == LARGE * 3


async def put_until_full(engine: Engine) -> list[str]:
    """Inline objects, sixteen at a time; returns the names that were acknowledged. The rest said OutOfSpace."""
    acknowledged: list[str] = []
    for start in range(0, 10_000, 16):
        names = [f"small-{number}" for number in range(start, start + 16)]
        outcomes = await asyncio.gather(
            *(put(engine, name, name.encode() * 1000) for name in names), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        acknowledged += [name for name, each in zip(names, outcomes, strict=True) if each not in refused]
        if refused:
            assert {type(error) for error in refused} == {OutOfSpace}
            return acknowledged
    raise AssertionError("the disk was never full")


async def test_a_commit_that_does_not_fit_is_refused_and_what_was_acknowledged_stays(
    engine: Engine, disk: Path
) -> None:
    ballast = fill(disk, leave=1 << 20)
    acknowledged = await put_until_full(engine)
    for name in acknowledged:
        assert await get(engine, name) == name.encode() * 1000
    with pytest.raises(ObjectNotFound):
        await get(engine, f"small-{len(acknowledged) + 16}")
    ballast.unlink()
    await put(engine, "after", LARGE)
    assert await get(engine, "after") == LARGE


async def test_large_objects_until_the_disk_is_full_leave_one_file_each(engine: Engine, disk: Path) -> None:
    acknowledged = 0
    with suppress(OutOfSpace):
        for number in range(10_000):
            await put(engine, f"{number:0500}", os.urandom(33_000))
            acknowledged += 1
    assert 100 < acknowledged < 10_000
    assert len(stored(disk)) == acknowledged


async def test_a_store_that_was_full_is_clean_when_it_is_opened_again(disk: Path) -> None:
    async with running_engine(disk, mountpaths=1) as engine:
        ballast = fill(disk, leave=1 << 20)
        acknowledged = await put_until_full(engine)
    assert verify({"mp1": disk / "mp1"}).findings == []
    ballast.unlink()
    async with running_engine(disk, mountpaths=1) as engine:
        for name in acknowledged:
            assert await get(engine, name) == name.encode() * 1000
        await put(engine, "after", LARGE)


@pytest.mark.parametrize("used", [False, True])
async def test_a_disk_that_is_full_at_the_start_is_told_in_one_sentence(disk: Path, used: bool) -> None:
    folders = mountpath_folders(disk, 1)
    if used:
        async with running_engine(disk, mountpaths=1):
            pass
    ballast = fill(disk)
    with pytest.raises(OutOfSpace, match=r"disk is full; .*add space"):
        open_engine(folders, cluster=CLUSTER_ID, target="t1", authority=Fence())
    ballast.unlink()
    async with running_engine(disk, mountpaths=1) as engine:
        await put(engine, "a", LARGE)


async def test_objects_can_be_deleted_on_a_disk_that_is_full_to_the_last_byte(
    engine: Engine, disk: Path
) -> None:
    for number in range(40):
        await put(engine, f"inline-{number:02}", b"x" * 9000)
    await put(engine, "large", LARGE)
    fill(disk)
    with pytest.raises(OutOfSpace):
        await put(engine, "more", LARGE)
    for number in range(40):
        await engine.store.delete(BUCKET, f"inline-{number:02}")
    await engine.store.delete(BUCKET, "large")
    await settled(engine)
    await put(engine, "again", LARGE[: 1 << 19])
    assert await get(engine, "again") == LARGE[: 1 << 19]


async def put_together(engine: Engine, names: list[str], data: bytes) -> None:
    for start in range(0, len(names), 200):
        await asyncio.gather(*(put(engine, name, data) for name in names[start : start + 200]))


@pytest.mark.slow
async def test_many_deletes_at_once_go_through_on_a_full_disk(larger_disk: Path) -> None:
    """Each group of them touches more pages than the commits before it have left free."""
    names = [f"{number * 7919 % 100_003:06}" for number in range(4000)]
    async with running_engine(larger_disk, mountpaths=1) as engine:
        await put_together(engine, names, b"x" * 5000)
        fill(larger_disk)
        with pytest.raises(OutOfSpace):
            await put_together(engine, [f"more-{number}" for number in range(2000)], b"x" * 16_000)
        fill(larger_disk)
        for start in range(0, len(names), 250):
            await asyncio.gather(*(engine.store.delete(BUCKET, name) for name in names[start : start + 250]))
        await put(engine, "again", b"x" * 16_000)
