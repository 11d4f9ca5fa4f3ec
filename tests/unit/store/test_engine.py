"""The engine as a whole: opened, shared with readers of other processes, stopped, killed, and opened again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoal_core.errors import ConfigurationError, ObjectNotFound, StaleEpoch
from shoal_core.objects import ObjectInfo, PutRequest
from shoal_core.placement import SLOTS
from shoal_store.commit import Commit, Committer
from shoal_store.engine import Engine, open_engine
from shoal_store.fsck import verify
from shoal_store.local import LocalObjectStore
from support.engines import (
    BUCKET,
    Fence,
    commit_of,
    get,
    in_pieces,
    mountpath_folders,
    put,
    running_engine,
    stored,
    unstarted_engine,
)
from support.stores import CLUSTER_ID
from support.waiting import eventually

LARGE = os.urandom(200_000)


async def test_objects_are_there_after_a_stop_and_a_start(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        for number in range(20):
            await put(engine, f"small-{number}", b"small")
        await put(engine, "large", LARGE)
    async with running_engine(tmp_path) as engine:
        assert await get(engine, "large") == LARGE
        for number in range(20):
            assert await get(engine, f"small-{number}") == b"small"


async def test_a_stopped_engine_leaves_no_temporary_folder(tmp_path: Path) -> None:
    async with running_engine(tmp_path):
        assert len(temporary_folders(tmp_path)) == 2
    assert temporary_folders(tmp_path) == []


def temporary_folders(folder: Path) -> list[Path]:
    return list(folder.glob("mp*/tmp/*"))


async def test_names_lie_in_both_indexes_and_say_so(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        infos = [await put(engine, f"name-{number}", b"x") for number in range(30)]
    assert {info.location for info in infos} == {"t[t1]:mp1", "t[t1]:mp2"}


async def test_another_set_of_mountpaths_is_refused(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=2) as engine:
        await put(engine, "a", b"x")
    for count in (1, 3):
        with pytest.raises(ConfigurationError, match="start the target with the first ones"):
            unstarted_engine(mountpath_folders(tmp_path, count))
    async with running_engine(tmp_path, mountpaths=2) as engine:
        assert await get(engine, "a") == b"x"


@pytest.mark.parametrize(("cluster", "target"), [("another", "t1"), (CLUSTER_ID, "t2")])
async def test_mountpaths_of_another_cluster_or_target_are_refused(
    tmp_path: Path, cluster: str, target: str
) -> None:
    async with running_engine(tmp_path):
        pass
    with pytest.raises(ConfigurationError, match="belongs to mountpath mp1 of target t1"):
        open_engine(mountpath_folders(tmp_path), cluster=cluster, target=target, authority=Fence())


async def test_a_new_engine_holds_no_slot(tmp_path: Path) -> None:
    engine = open_engine(mountpath_folders(tmp_path), cluster=CLUSTER_ID, target="t1", authority=Fence())
    await engine.start()
    with pytest.raises(StaleEpoch):
        await put(engine, "a", LARGE)
    assert stored(tmp_path) == []
    engine.own(1, b"\xff" * (SLOTS // 8))
    await put(engine, "a", LARGE)
    await engine.stop()


async def test_an_engine_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    engine = unstarted_engine(mountpath_folders(tmp_path))
    await engine.stop()
    async with running_engine(tmp_path):
        pass


async def test_the_sweep_removes_what_a_dead_gateway_left(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        dead = tmp_path / "mp1" / "tmp" / "1-dead"
        dead.mkdir()
        (dead / "unfinished").write_bytes(b"x")
        past = time.time() - 60
        os.utime(dead, (past, past))
        sweeping = asyncio.create_task(engine.sweep())
        await eventually(lambda: not dead.exists())
        sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeping


async def test_the_mean_group_can_be_told(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await asyncio.gather(*(put(engine, f"name-{number}", b"x") for number in range(40)))
        groups, commits = engine.groups
    assert commits == 40
    assert 2 <= groups < 40


async def read_elsewhere(folder: Path, name: str) -> bytes:
    """By another process, as a gateway does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READ, str(folder), name, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


READ = """
import asyncio, sys
from pathlib import Path
from shoal_core.objects import NO_PRECONDITIONS, Bucket, BucketId, BucketProperties, BucketReference
from shoal_store.engine import open_reader

async def read() -> None:
    folders = {name: Path(sys.argv[1]) / name for name in ("mp1", "mp2")}
    store = open_reader(folders, cluster="test-cluster", target="t1")
    bucket = Bucket(BucketReference("engine"), BucketId(b"engine-1"), 1, 0, BucketProperties())
    body = await store.reader.open(bucket, sys.argv[2], None, NO_PRECONDITIONS)
    async for piece in body.chunks():
        sys.stdout.buffer.write(piece)
    await body.close()
    store.close()

asyncio.run(read())
"""


@pytest.mark.parametrize("body", [b"small", LARGE])
async def test_a_process_of_the_host_reads_what_the_engine_committed(tmp_path: Path, body: bytes) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", b"old")
        await put(engine, "a", body)
        assert await read_elsewhere(tmp_path, "a") == body


async def test_a_killed_engine_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    mountpath_folders(tmp_path)
    support = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITE, str(tmp_path), str(support), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [await process.stdout.readline() for _ in range(40)]
    process.kill()
    acknowledged += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    names = [line.decode().strip() for line in acknowledged if line.endswith(b"\n")]
    async with running_engine(tmp_path) as engine:
        for name in names:
            assert await get(engine, name) == name.encode() * 2_000
    assert verify(mountpath_folders(tmp_path)).clean


WRITE = """
import asyncio, sys
from pathlib import Path
sys.path.append(sys.argv[2])
from support.engines import put, running_engine

async def write() -> None:
    async with running_engine(Path(sys.argv[1])) as engine:
        async def worker(number: int) -> None:
            for turn in range(100_000):
                name = f"{number}-{turn:06}" + "x" * (turn % 2)
                await put(engine, name, name.encode() * 2_000)
                print(name, flush=True)
        await asyncio.gather(*(worker(number) for number in range(4)))

asyncio.run(write())
"""


class Announcing:
    """A `Committer` that says when a commit has come to it."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self.arrived = asyncio.Event()

    async def commit(self, commit: Commit) -> ObjectInfo:
        self.arrived.set()
        return await self._committer.commit(commit)


async def put_and_cancel_during_commit(engine: Engine) -> None:
    """The engine has one mountpath and is not started yet; when this returns, its commit is pending or decided."""
    with engine.indexes["mp1"].write():
        # The committer waits for our transaction.
        await engine.start()
        committer = Announcing(engine)
        store = LocalObjectStore(engine.reader, engine.writer, committer, epoch=lambda: 1)
        putting = asyncio.create_task(store.put(BUCKET, PutRequest("a"), in_pieces(LARGE)))
        await committer.arrived.wait()
        putting.cancel()
        await asyncio.wait([putting])
        assert putting.cancelled()


async def test_a_put_cancelled_during_its_commit_leaves_the_object_and_its_file(tmp_path: Path) -> None:
    engine = unstarted_engine(mountpath_folders(tmp_path, 1))
    await put_and_cancel_during_commit(engine)
    await engine.stop()
    async with running_engine(tmp_path, mountpaths=1) as engine:
        assert await get(engine, "a") == LARGE


async def test_a_put_cancelled_during_a_commit_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    engine = unstarted_engine(mountpath_folders(tmp_path, 1), fence=Fence(held=False))
    await put_and_cancel_during_commit(engine)
    await eventually(lambda: not stored(tmp_path))
    with pytest.raises(ObjectNotFound):
        await get(engine, "a")
    await engine.stop()


async def test_a_body_written_beside_the_engine_is_committed_by_it(tmp_path: Path) -> None:
    """As a gateway does: its own files, the target's commit."""
    async with running_engine(tmp_path) as engine:
        written = await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(LARGE))
        with pytest.raises(ObjectNotFound):
            await get(engine, "a")
        info = await engine.commit(commit_of(written, "a"))
        assert (info.size, info.etag) == (len(LARGE), written.record.etag)
        assert await get(engine, "a") == LARGE
