"""Hot copies of an index: of one snapshot, complete, described, elsewhere, and never at the expense of a delete."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import lmdb
import pytest
import uvloop

from shoal_core.errors import OutOfSpace, Unavailable
from shoal_store import index_copies
from shoal_store.engine import Engine
from shoal_store.index_copies import IndexCopy, copies_of, place_for
from shoal_store.mountpaths import MountpathFolder
from support.engines import BUCKET, damage_record, mountpath_folders, name_kept_by, put, running_engine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


async def copied(engine: Engine, mountpath: str = "mp1") -> IndexCopy:
    size = engine.indexes[mountpath].used_bytes()
    return await engine.index_copier(bytes_per_second=1e9).copy(mountpath, size=size)


def newest(folder: Path, mountpath: str = "mp1") -> IndexCopy:
    return copies_of(mountpath, mountpath_folders(folder).values())[0]


def records_of(copy: IndexCopy) -> dict[bytes, bytes]:
    with lmdb.open(str(copy.data), subdir=False, readonly=True, lock=False, max_dbs=7) as environment:
        table = environment.open_db(b"records", create=False)
        with environment.begin(db=table) as transaction:
            return dict(transaction.cursor())


async def test_a_copy_has_what_the_index_has_and_lies_on_the_other_mountpath(
    engine: Engine, tmp_path: Path
) -> None:
    for number in range(300):
        await put(engine, f"n{number}", b"x" * 2000)
    index = engine.indexes["mp1"]
    copy = await copied(engine)
    with index.read() as transaction, transaction.cursor(db=index.records) as cursor:
        live = {bytes(key): bytes(value) for key, value in cursor}
    assert records_of(copy) == live
    assert copy.folder.parent == tmp_path / "mp2" / "copies"
    assert copy.is_whole()
    assert copy.description.transaction == index.last_transaction()
    assert newest(tmp_path) == copy
    assert list((tmp_path / "mp2" / "tmp").glob("*/copy*")) == []


async def test_the_newer_copy_takes_the_place_of_the_older_wherever_that_is(
    engine: Engine, tmp_path: Path
) -> None:
    older = await copied(engine)
    elsewhere = tmp_path / "mp1" / "copies" / f"mp1-{older.description.made_ns}"
    shutil.copytree(older.folder, elsewhere)
    newer = await copied(engine)
    assert copies_of("mp1", mountpath_folders(tmp_path).values()) == [newer]
    assert not elsewhere.exists()


async def test_each_index_has_its_own_copy(engine: Engine, tmp_path: Path) -> None:
    for mountpath in ("mp1", "mp2"):
        await copied(engine, mountpath)
    assert newest(tmp_path, "mp2").folder.parent == tmp_path / "mp1" / "copies"
    assert newest(tmp_path).folder.parent == tmp_path / "mp2" / "copies"


async def test_commits_go_on_while_a_copy_is_made(engine: Engine) -> None:
    for number in range(300):
        await put(engine, f"n{number}", b"x" * 2000)
    name = name_kept_by(engine, "mp1")
    copying = copied(engine)
    await put(engine, name, b"before")
    copy = await copying
    await put(engine, name, b"after")
    assert BUCKET.id + name.encode() in records_of(copy)
    assert copy.description.transaction < engine.indexes["mp1"].last_transaction()


def test_a_copy_is_made_without_a_fork_of_the_target(tmp_path: Path) -> None:
    """In whose child Python and gRPC would run, and meet what threads left behind that are not there: one in twenty
    died before its first step. On uvloop, as targets run; asyncio's own loop does not fork."""
    forks: list[int] = []
    os.register_at_fork(before=lambda: forks.append(1))

    async def copied_once() -> IndexCopy:
        async with running_engine(tmp_path) as engine:
            await put(engine, "n", b"x" * 2000)
            return await copied(engine)

    assert uvloop.run(copied_once()).description.rows
    assert forks == []


async def test_a_copy_that_takes_too_long_is_killed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_copies, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(index_copies, "PATIENCE_FACTOR", 0.0)
    with pytest.raises(Unavailable, match="took more than"):
        await copied(engine)
    assert list((tmp_path / "mp2" / "tmp").glob("*/copy*")) == []


class LateToDie(subprocess.Popen[bytes]):
    """As one that waits for a disk: it ends when the loop has had a turn."""

    def kill(self) -> None:
        asyncio.get_running_loop().call_later(0.05, super().kill)


@pytest.mark.timeout(60)
async def test_the_loop_goes_on_while_a_copy_that_was_killed_does_not_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_copies, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(index_copies, "PATIENCE_FACTOR", 0.0)
    pipe = subprocess.PIPE
    monkeypatch.setattr(
        index_copies, "piped", lambda _command: LateToDie(["sleep", "600"], stdout=pipe, stderr=pipe)
    )
    with pytest.raises(Unavailable, match="took more than"):
        await copied(engine)


async def test_a_damaged_index_leaves_the_older_copy(engine: Engine, tmp_path: Path) -> None:
    name = name_kept_by(engine, "mp1")
    await put(engine, name, b"x")
    whole = await copied(engine)
    damage_record(engine, BUCKET.id + name.encode())
    with pytest.raises(Unavailable, match="damaged row"):
        await copied(engine)
    assert newest(tmp_path) == whole
    assert list((tmp_path / "mp2" / "tmp").glob("*/copy*")) == []


async def test_a_copy_with_a_changed_byte_is_known(engine: Engine, tmp_path: Path) -> None:
    copy = await copied(engine)
    with copy.data.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    assert not newest(tmp_path).is_whole()


async def test_a_copy_whose_description_is_damaged_or_of_another_index_is_none(
    engine: Engine, tmp_path: Path
) -> None:
    copy = await copied(engine)
    copy.folder.rename(copy.folder.with_name(f"mp2-{copy.description.made_ns}"))
    assert copies_of("mp2", mountpath_folders(tmp_path).values()) == []
    copy = await copied(engine)
    (copy.folder / "description").write_bytes(b"")
    assert copies_of("mp1", mountpath_folders(tmp_path).values()) == []


async def test_a_short_disk_is_left_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await copied(engine)
    monkeypatch.setattr(index_copies, "SPACE_KEPT_BYTES", 1 << 60)
    with pytest.raises(OutOfSpace, match="are needed; add space"):
        await copied(engine)
    assert newest(tmp_path) == older


async def test_the_only_mountpath_has_the_copy_of_its_own_index(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        copy = await copied(engine)
    assert copy.folder.parent == tmp_path / "mp1" / "copies"


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "other"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only an administrator may mount a small disk")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_another_disk_is_better_than_another_mountpath(tmp_path: Path, other_disk: Path) -> None:
    folders = [MountpathFolder(name, tmp_path / name) for name in ("mp1", "mp2")]
    for folder in folders:
        folder.path.mkdir()
    elsewhere = MountpathFolder("mp3", other_disk)
    assert place_for("mp1", folders).id == "mp2"
    assert place_for("mp1", [*folders, elsewhere]) == elsewhere
    assert os.stat(other_disk).st_dev != os.stat(tmp_path).st_dev
