"""The collection of orphans: what no row names goes, and nothing that a writer has in flight, whatever became of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shoal_core.errors import MountpathUnavailable, Unavailable
from shoal_core.multipart import Completion
from shoal_core.objects import PutRequest
from shoal_store.engine import Engine
from shoal_store.mountpaths import sweep_temporary
from shoal_store.orphans import DamagedRows, Step
from shoal_store.writer import Written
from support.engines import (
    BUCKET,
    commit_of,
    damage_record,
    get,
    in_pieces,
    mountpath_folders,
    put,
    rows,
    running_engine,
    stored,
)
from support.layouts import put_every_layout, put_versions, upload_a_part

LARGE = os.urandom(100_000)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


def steps(engine: Engine, *, age_seconds_min: float = 0) -> Iterator[Step]:
    return engine.collect_orphans(age_seconds_min=age_seconds_min)


def collected(engine: Engine, *, age_seconds_min: float = 0) -> int:
    return sum(step.removed for step in steps(engine, age_seconds_min=age_seconds_min))


async def unfinished(
    engine: Engine, name: str, data: bytes = LARGE, chunk_bytes: int | None = None
) -> Written:
    """A write that has come to the point between its files and its commit."""
    return await engine.writer.write(BUCKET, PutRequest(name), in_pieces(data), chunk_bytes=chunk_bytes)


async def everything(engine: Engine) -> dict[str, bytes]:
    await put_versions(engine, "versioned", LARGE, b"newer")
    return await put_every_layout(engine, LARGE)


async def test_what_rows_name_stays(engine: Engine, tmp_path: Path) -> None:
    objects = await everything(engine)
    upload_id, part = await upload_a_part(engine, "a", LARGE)
    before = stored(tmp_path)
    assert collected(engine) == 0
    assert stored(tmp_path) == before
    await engine.store.complete_upload(BUCKET, "a", upload_id, Completion([part]))
    for name, data in (objects | {"a": LARGE}).items():
        assert await get(engine, name) == data


async def test_what_no_row_names_goes(engine: Engine, tmp_path: Path) -> None:
    await everything(engine)
    before = stored(tmp_path)
    (await unfinished(engine, "one")).settle()
    (await unfinished(engine, "several", chunk_bytes=30_000)).settle()
    found, _ = engine.store.reader.record(BUCKET, "chunks")
    engine.writer.link(BUCKET, "linked", found).settle()
    assert len(stored(tmp_path)) == len(before) + 1 + 5 + 5
    assert collected(engine) == 1 + 5 + 5
    assert stored(tmp_path) == before


async def test_other_files_in_the_folders_are_nobodys_orphans(engine: Engine, tmp_path: Path) -> None:
    foreign = tmp_path / "mp1" / "data" / "00" / "README"
    foreign.touch()
    assert collected(engine) == 0
    assert foreign.exists()


@pytest.mark.parametrize("chunk_bytes", [None, 30_000])
async def test_a_write_between_its_files_and_its_commit_keeps_them(
    engine: Engine, chunk_bytes: int | None
) -> None:
    written = await unfinished(engine, "a", chunk_bytes=chunk_bytes)
    assert collected(engine) == 0
    await engine.commit(commit_of(written, "a"))
    assert await get(engine, "a") == LARGE


async def test_a_copy_between_its_links_and_its_commit_keeps_them(engine: Engine) -> None:
    await put(engine, "source", LARGE)
    found, _ = engine.store.reader.record(BUCKET, "source")
    written = engine.writer.link(BUCKET, "copy", found)
    await engine.store.delete(BUCKET, "source")
    assert collected(engine) == 0
    await engine.commit(commit_of(written, "copy"))
    assert await get(engine, "copy") == LARGE


async def test_a_write_that_is_committed_in_the_middle_of_a_collection_stays(engine: Engine) -> None:
    """At whatever step: of the folders, of the rows, of the removal."""
    total = sum(1 for _ in steps(engine))
    for step in [*range(0, total, 50), *range(total - 5, total + 2)]:
        written = await unfinished(engine, "a")
        collecting = steps(engine)
        for _ in range(step):
            next(collecting, None)
        committing = engine.commit(commit_of(written, "a"))
        written.settle()
        await committing
        for _ in collecting:
            pass
        assert await get(engine, "a") == LARGE


async def test_an_upload_that_is_completed_in_the_middle_of_a_collection_stays(engine: Engine) -> None:
    upload_id, part = await upload_a_part(engine, "a", LARGE)
    collecting = steps(engine)
    while not next(collecting).rows:
        pass
    await engine.store.complete_upload(BUCKET, "a", upload_id, Completion([part]))
    for _ in collecting:
        pass
    assert await get(engine, "a") == LARGE


async def test_a_commit_that_comes_when_its_file_was_collected_is_refused(engine: Engine) -> None:
    """Its writer was killed, and the message was still on its way."""
    await put(engine, "a", b"older")
    written = await unfinished(engine, "a")
    written.settle()
    assert collected(engine) == 1
    with pytest.raises(Unavailable, match="collected as left over"):
        await engine.commit(commit_of(written, "a"))
    assert await get(engine, "a") == b"older"


async def test_what_is_young_is_left_alone(engine: Engine) -> None:
    (await unfinished(engine, "a")).settle()
    assert collected(engine, age_seconds_min=3600) == 0
    assert collected(engine) == 1


async def test_nothing_is_collected_while_a_damaged_record_may_name_it(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "large", LARGE)
    await put(engine, "inline", b"x")
    for name in (b"large", b"inline"):
        damage_record(engine, BUCKET.id + name)
        with pytest.raises(DamagedRows, match="damaged row"):
            collected(engine)
    assert len(stored(tmp_path)) == 1
    await engine.store.delete(BUCKET, "large")
    await put(engine, "inline", b"y")
    assert len(rows(engine, "payloads")) == 2
    assert collected(engine) == 2
    assert (stored(tmp_path), len(rows(engine, "payloads"))) == ([], 1)
    assert await get(engine, "inline") == b"y"


async def test_nothing_is_collected_while_a_mountpath_is_away(engine: Engine, tmp_path: Path) -> None:
    (await unfinished(engine, "a")).settle()
    await engine.disable("mp2")
    with pytest.raises(MountpathUnavailable):
        collected(engine)
    assert len(stored(tmp_path)) == 1


WRITER = """
import asyncio, sys
from pathlib import Path
from shoal_core.objects import PutRequest
from shoal_store.engine import open_reader
from support.engines import BUCKET, in_pieces, mountpath_folders
from support.stores import CLUSTER_ID

async def main():
    store = open_reader(mountpath_folders(Path(sys.argv[1])), cluster=CLUSTER_ID, target="t1")
    await store.writer.write(BUCKET, PutRequest("a"), in_pieces(bytes(100_000)), chunk_bytes=30_000)
    print("written", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def gateway(engine: Engine, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that stands between the files of a write and its commit, as a gateway does."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


@pytest.mark.slow
async def test_the_files_of_a_stopped_gateway_stay_and_those_of_a_killed_one_go(
    engine: Engine, gateway: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert len(stored(tmp_path)) == 5
    gateway.send_signal(signal.SIGSTOP)
    assert collected(engine) == 0
    gateway.kill()
    gateway.wait()
    # As long as its folder is there, the table has its files.
    assert collected(engine) == 0
    for folder in mountpath_folders(tmp_path).values():
        for each in (folder / "tmp").iterdir():
            os.utime(each, (0, 0))
        sweep_temporary(folder)
    assert collected(engine) == 5
    assert stored(tmp_path) == []
