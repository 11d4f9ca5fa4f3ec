"""Multipart uploads on the disks: which files they make, keep and leave."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_core.errors import InvalidPart, PreconditionFailed, ShoalError, UploadNotFound
from shoal_core.multipart import Completion, PartChoice, PartInfo
from shoal_core.objects import ObjectInfo, Preconditions, PutRequest
from shoal_store.commit import Commit
from shoal_store.engine import Engine
from shoal_store.fsck import Report, verify
from support.engines import BUCKET, Fence, get, in_pieces, put, running_engine, settled, stored

SMALL, LARGE = 100, 2_500_000
NAME = "n" * 500


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


async def begun(engine: Engine, name: str = NAME) -> str:
    return (await engine.store.begin_upload(BUCKET, PutRequest(name))).id


async def put_part(engine: Engine, upload_id: str, number: int, data: bytes) -> PartInfo:
    return await engine.store.put_part(BUCKET, upload_id, number, PutRequest(NAME), in_pieces(data))


async def complete(
    engine: Engine, upload_id: str, *parts: PartInfo, preconditions: Preconditions | None = None
) -> None:
    choices = [PartChoice(part.number, part.etag) for part in parts]
    completion = Completion(choices, "whole", preconditions=preconditions or Preconditions())
    await engine.store.complete_upload(BUCKET, NAME, upload_id, completion)


async def checked(engine: Engine) -> Report:
    """The engine is stopped for it: a process opens an LMDB environment once."""
    await engine.stop()
    report = verify({folder.id: folder.path for folder in engine.mountpaths.all})
    assert (report.damages, report.orphans) == (0, 0), report.findings
    return report


async def test_parts_are_files_however_small_and_no_orphans(engine: Engine, tmp_path: Path) -> None:
    upload = await begun(engine)
    for number, size in enumerate((0, SMALL, LARGE), 1):
        await put_part(engine, upload, number, bytes(size))
    assert len(stored(tmp_path)) == (await checked(engine)).chunk_files == 3


async def test_part_written_again_removes_the_file_of_the_first(engine: Engine, tmp_path: Path) -> None:
    upload = await begun(engine)
    await put_part(engine, upload, 1, b"first")
    first = stored(tmp_path)
    await put_part(engine, upload, 1, b"second")
    await settled(engine)
    assert len(stored(tmp_path)) == 1
    assert stored(tmp_path) != first


async def test_completion_keeps_the_files_of_the_parts_and_adds_a_manifest(
    engine: Engine, tmp_path: Path
) -> None:
    upload = await begun(engine)
    parts = [await put_part(engine, upload, number, os.urandom(SMALL)) for number in (1, 2)]
    files = stored(tmp_path)
    await complete(engine, upload, *parts)
    added = set(stored(tmp_path)) - set(files)
    assert [path.suffix for path in added] == [".manifest"]
    assert (await checked(engine)).objects == 1


async def test_completion_removes_parts_not_chosen_and_the_replaced_object(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, NAME, os.urandom(LARGE))
    upload = await begun(engine)
    parts = [await put_part(engine, upload, number, bytes([number]) * SMALL) for number in (1, 2, 3)]
    await complete(engine, upload, parts[1])
    await settled(engine)
    assert len(stored(tmp_path)) == 2
    assert await get(engine, NAME) == b"\2" * SMALL
    await checked(engine)


async def test_deleting_the_object_leaves_no_file(engine: Engine, tmp_path: Path) -> None:
    upload = await begun(engine)
    await complete(engine, upload, await put_part(engine, upload, 7, bytes(LARGE)))
    await engine.store.delete(BUCKET, NAME)
    await settled(engine)
    assert stored(tmp_path) == []


async def test_completion_that_was_refused_leaves_no_file_once_another_succeeds(
    engine: Engine, tmp_path: Path
) -> None:
    upload = await begun(engine)
    parts = [await put_part(engine, upload, number, bytes(SMALL)) for number in (1, 2, 3)]
    missing = Preconditions(if_match=("none",))
    for chosen in (parts[1:], parts[2:]):
        with pytest.raises(PreconditionFailed):
            await complete(engine, upload, *chosen, preconditions=missing)
    await complete(engine, upload, *parts[:2])
    await settled(engine)
    assert len(stored(tmp_path)) == 3
    await checked(engine)


async def test_abort_leaves_no_file_not_even_of_a_refused_completion(engine: Engine, tmp_path: Path) -> None:
    upload = await begun(engine)
    part = await put_part(engine, upload, 1, bytes(LARGE))
    with pytest.raises(PreconditionFailed):
        await complete(engine, upload, part, preconditions=Preconditions(if_match=("none",)))
    await engine.store.abort_upload(BUCKET, NAME, upload)
    await settled(engine)
    assert stored(tmp_path) == []


async def test_part_that_arrives_after_the_abort_leaves_no_file(engine: Engine, tmp_path: Path) -> None:
    upload = await begun(engine)

    async def aborted_meanwhile() -> AsyncIterator[bytes]:
        yield bytes(LARGE)
        await engine.store.abort_upload(BUCKET, NAME, upload)
        yield bytes(SMALL)

    with pytest.raises(UploadNotFound):
        await engine.store.put_part(BUCKET, upload, 1, PutRequest(NAME), aborted_meanwhile())
    assert stored(tmp_path) == []


async def test_part_written_again_behind_the_completion_wins_or_loses_as_a_whole(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await begun(engine)
    part = await put_part(engine, upload, 1, b"first")
    engine_commit = engine.commit

    async def overtaken(commit: Commit) -> ObjectInfo:
        monkeypatch.undo()
        await put_part(engine, upload, 1, b"second")
        return await engine_commit(commit)

    monkeypatch.setattr(engine, "commit", overtaken)
    with pytest.raises(InvalidPart):
        await complete(engine, upload, part)
    await settled(engine)
    await checked(engine)


async def test_purge_removes_uploads_and_their_files(tmp_path: Path) -> None:
    fence = Fence()
    async with running_engine(tmp_path, fence=fence) as engine:
        upload = await begun(engine)
        for number in range(1, 4):
            await put_part(engine, upload, number, bytes(SMALL))
        fence.removed.add(BUCKET.id)
        purged = [batch async for batch in engine.purge_bucket(BUCKET.id)]
        assert sum(batch.uploads for batch in purged) == 4
        assert stored(tmp_path) == []
        with pytest.raises(ShoalError):
            await engine.store.list_parts(BUCKET, NAME, upload)


async def test_fsck_names_the_part_whose_file_is_damaged_or_gone(engine: Engine, tmp_path: Path) -> None:
    upload = await begun(engine)
    await put_part(engine, upload, 5, bytes(LARGE))
    stored(tmp_path)[0].unlink()
    await engine.stop()
    report = verify({folder.id: folder.path for folder in engine.mountpaths.all})
    assert [(each.kind, each.what) for each in report.findings] == [
        ("missing-chunk", f"upload {upload}, part 5")
    ]
