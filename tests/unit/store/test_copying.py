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
from shoal_core.objects import CopyRequest, Preconditions
from shoal_store.copying import LINKED_BYTES_MIN
from shoal_store.engine import Engine
from shoal_store.keys import key_of, placed
from shoal_store.manifest import decode_manifest
from shoal_store.ready import close_files
from shoal_store.rechunk import Step, rechunk
from shoal_store.scrub import scrub
from support.engines import BUCKET, get, put, put_in_chunks, running_engine, settled, stored

LARGE = os.urandom((5 << 20) + 12_345)


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


@pytest.mark.parametrize("name", ["b", "long" * 200])
async def test_a_manifest_says_whose_linked_files_are(engine: Engine, tmp_path: Path, name: str) -> None:
    await put(engine, "a", LARGE)
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", name))
    [manifest] = [path for path in stored(tmp_path) if path.suffix == ".manifest"]
    key, record = decode_manifest(manifest.read_bytes())
    assert key == key_of(BUCKET.id, name.encode())
    assert record.linked
    assert [chunk.file_id.hex() for chunk in record.chunks] == [manifest.stem]
    assert is_sound(engine)


async def test_a_copy_of_one_file_syncs_its_folder_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    await put(engine, "a", LARGE)
    for module in ("copying", "chunkwriter"):
        monkeypatch.setattr(f"shoal_store.{module}.sync_data", lambda _, label: synced.append(label))
        monkeypatch.setattr(f"shoal_store.{module}.sync_directory", lambda _, label: synced.append(label))
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert synced == ["chunk data", "manifest data", "manifest name"]


@pytest.mark.parametrize("size", [17_000, LINKED_BYTES_MIN, LINKED_BYTES_MIN + 1])
async def test_a_small_copy_has_a_file_of_its_own(engine: Engine, tmp_path: Path, size: int) -> None:
    source = await put(engine, "a", LARGE[:size])
    copy = await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert (copy.etag, copy.checksum, copy.size) == (source.etag, source.checksum, size)
    assert await get(engine, "b") == LARGE[:size]
    is_link = size > LINKED_BYTES_MIN
    assert [path.stat().st_nlink for path in chunks_in(tmp_path)] == [1 + is_link] * 2
    assert len(stored(tmp_path)) == 2 + is_link
    assert is_sound(engine)


async def test_a_damaged_source_is_not_copied(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a", LARGE[:20_000])
    (path,) = stored(tmp_path)
    with path.open("r+b") as file:
        file.write(bytes([LARGE[0] ^ 1]))
    with pytest.raises(DataCorrupt):
        await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    assert stored(tmp_path) == [path]


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
    versions = [os.urandom(LINKED_BYTES_MIN + 1) for _ in range(30)]
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
