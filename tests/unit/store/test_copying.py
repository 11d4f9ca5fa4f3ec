"""Copies that link files: what is on the disk, what fsck says of it, and what goes with which object."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core.errors import DataCorrupt, PreconditionFailed
from shoal_core.objects import Bucket, CopyRequest, Preconditions
from shoal_store.engine import Engine
from shoal_store.keys import key_of, placed
from shoal_store.manifest import read_manifest
from shoal_store.ready import close_files
from shoal_store.rechunk import Step, rechunk
from shoal_store.scrub import scrub
from shoal_store.writer import INLINE_BYTES_MAX
from support.engines import BUCKET, get, put, put_in_chunks, running_engine, settled, stored

LARGE = os.urandom((5 << 20) + 12_345)
UNSYNCED = replace(BUCKET, properties=replace(BUCKET.properties, durability="os"))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


def is_sound(engine: Engine) -> bool:
    findings = [finding for step in scrub(engine.indexes, engine.mountpaths) for finding in step.findings]
    assert findings == []
    return True


def chunks_in(folder: Path) -> list[Path]:
    return [path for path in stored(folder) if path.suffix != ".manifest"]


async def test_a_copy_has_names_of_its_own_for_the_same_bytes(engine: Engine, tmp_path: Path) -> None:
    await put_in_chunks(engine, "a", LARGE, 2 << 20)
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert [path.stat().st_nlink for path in chunks_in(tmp_path)] == [2] * 6
    assert is_sound(engine)
    await engine.store.delete(BUCKET, "a")
    await settled(engine)
    assert [path.stat().st_nlink for path in chunks_in(tmp_path)] == [1] * 3
    assert await get(engine, "b") == LARGE
    assert is_sound(engine)
    await engine.store.delete(BUCKET, "b")
    await settled(engine)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("takes_links", [True, False])
@pytest.mark.parametrize("name", ["b", "long" * 200])
async def test_a_manifest_says_whose_linked_files_are(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, takes_links: bool
) -> None:
    def too_long(*_arguments: object) -> None:
        raise OSError(errno.ENAMETOOLONG, "more than the filesystem takes")

    if not takes_links:
        monkeypatch.setattr(os, "symlink", too_long)
    await put(engine, "a", LARGE)
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", name))
    [manifest] = [path for path in stored(tmp_path) if path.suffix == ".manifest"]
    assert manifest.is_symlink() == takes_links
    key, record = read_manifest(manifest)
    assert key == key_of(BUCKET.id, name.encode())
    assert record.linked
    assert [chunk.file_id.hex() for chunk in record.chunks] == [manifest.stem]
    assert is_sound(engine)


@pytest.mark.parametrize(
    ("source", "to", "expected"),
    [
        (BUCKET, BUCKET, ["chunk name"]),
        (UNSYNCED, BUCKET, ["chunk data", "chunk name"]),
        (BUCKET, UNSYNCED, []),
    ],
)
async def test_a_copy_syncs_what_the_source_did_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, source: Bucket, to: Bucket, expected: list[str]
) -> None:
    synced: list[str] = []
    await put(engine, "a", LARGE, bucket=source)
    for module in ("copying", "chunkwriter"):
        monkeypatch.setattr(f"shoal_store.{module}.sync_data", lambda _, label: synced.append(label))
        monkeypatch.setattr(f"shoal_store.{module}.sync_directory", lambda _, label: synced.append(label))
    await engine.store.copy(to, CopyRequest(source, "a", "b"))
    assert synced == expected
    await engine.store.copy(BUCKET, CopyRequest(to, "b", "c"))
    assert synced == [*expected, "chunk name"], "who copied it has seen to the bytes, or the source had"


@pytest.mark.parametrize("size", [INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1])
async def test_a_small_copy_has_its_bytes_in_the_index(engine: Engine, tmp_path: Path, size: int) -> None:
    source = await put(engine, "a", LARGE[:size])
    copy = await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert (copy.etag, copy.checksum, copy.size) == (source.etag, source.checksum, size)
    assert await get(engine, "b") == LARGE[:size]
    assert len(stored(tmp_path)) == (3 if size > INLINE_BYTES_MAX else 0)
    assert is_sound(engine)


async def test_a_copy_of_damaged_bytes_is_refused_when_it_is_read(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a", LARGE[:40_000])
    (path,) = stored(tmp_path)
    with path.open("r+b") as file:
        file.write(bytes([LARGE[0] ^ 1]))
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    with pytest.raises(DataCorrupt):
        await get(engine, "b")


async def test_a_rechunk_gives_a_copy_files_that_are_its_own(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a", LARGE)
    copy = await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    formed = replace(BUCKET, properties=replace(BUCKET.properties, chunk_above_bytes=1, chunk_bytes=1 << 20))
    for bucket in (formed, BUCKET):
        await rechunk(engine, bucket, "b", ignored)
        await settled(engine)
        assert is_sound(engine)
    assert await engine.store.head(BUCKET, "b") == copy
    assert len(stored(tmp_path)) == 2
    assert await get(engine, "b") == LARGE


async def ignored(_step: Step) -> None:
    """Nobody looks at how far it is."""


async def test_a_source_that_is_overwritten_meanwhile_gives_one_of_its_versions(
    engine: Engine, tmp_path: Path
) -> None:
    versions = [os.urandom(300_000) for _ in range(30)]
    await put(engine, "a", versions[0])

    async def overwrite() -> None:
        for version in versions[1:]:
            await put(engine, "a", version)

    async def copy(name: str) -> None:
        for _ in range(15):
            await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", name))
            assert await get(engine, name) in versions

    await asyncio.gather(overwrite(), copy("b"), copy("c"))
    await settled(engine)
    assert is_sound(engine)
    assert len(stored(tmp_path)) == 1 + 2 + 2


async def test_without_links_the_bytes_are_copied(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EMLINK, "too many links")

    source = await put(engine, "a", LARGE)
    monkeypatch.setattr(os, "link", full)
    copy = await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert (copy.etag, copy.checksum) == (source.etag, source.checksum)
    assert await get(engine, "b") == LARGE
    assert [path.stat().st_nlink for path in stored(tmp_path)] == [1, 1]


async def test_a_copy_that_is_refused_leaves_no_file(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a", LARGE)
    await put(engine, "b", b"there")
    never = Preconditions(if_none_match=("*",))
    with pytest.raises(PreconditionFailed):
        await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b", preconditions=never))
    assert len(stored(tmp_path)) == 1


async def test_a_copy_is_soon_at_hand(engine: Engine) -> None:
    await put(engine, "a", LARGE)
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert await get(engine, "b") == LARGE
    ready = engine.reader.ready(BUCKET, placed(BUCKET.id, b"b"), None, with_bytes=True)
    assert ready is not None
    close_files(ready.files)
