"""`shoal fsck`: silent about a healthy store, and one finding of the right kind for each damage."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal_core.objects import CopyRequest, PutRequest
from shoal_store.checking import Finding
from shoal_store.chunkfile import BLOCK_BYTES
from shoal_store.engine import Engine
from shoal_store.fsck import FINDINGS_MAX, Report, verify
from support.engines import (
    BUCKET,
    VERSIONED,
    in_pieces,
    mountpath_folders,
    name_kept_by,
    put,
    put_in_chunks,
    running_engine,
    stored,
)

LARGE = os.urandom(BLOCK_BYTES + 54_321)
SMALL = b"small object"
PAGE_BYTES = 4096


def kinds(report: Report) -> list[tuple[str, str]]:
    return sorted((finding.kind, finding.what) for finding in report.findings)


def check(folder: Path) -> Report:
    return verify(mountpath_folders(folder))


async def store_objects(
    folder: Path, then: Callable[[Engine], None] = lambda engine: None, *, large: bool = True
) -> None:
    """An inline object `small`, and `large` in one chunk."""
    async with running_engine(folder) as engine:
        await put(engine, "small", SMALL)
        if large:
            await put(engine, "large", LARGE)
        then(engine)


def overwrite_row(table: str, change: Callable[[bytes], bytes | None]) -> Callable[[Engine], None]:
    """Replace, or with None delete, the only row of a table."""

    def apply(engine: Engine) -> None:
        for index in engine.indexes.values():
            with index.write() as transaction, transaction.cursor(db=getattr(index, table)) as cursor:
                if not cursor.first():
                    continue
                key, value = bytes(cursor.key()), change(bytes(cursor.value()))
                if value is None:
                    index.delete_row(transaction, table, key=key)
                else:
                    index.put_row(transaction, table, key=key, value=value)

    return apply


def flip(value: bytes, position: int = -1) -> bytes:
    changed = bytearray(value)
    changed[position] ^= 1
    return bytes(changed)


async def test_a_healthy_store_is_clean(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        for number in range(10):
            await put(engine, f"small-{number}", SMALL)
            await put(engine, f"large-{number}", LARGE)
            await put(engine, f"large-{number}", LARGE[::-1], bucket=VERSIONED)
        await put_in_chunks(engine, "chunks", LARGE, 300_000)
        await put(engine, "large-1", SMALL, bucket=VERSIONED)
        await engine.store.delete(VERSIONED, "large-2")
    report = check(tmp_path)
    assert kinds(report) == []
    assert report.clean
    # 21 current ones, 9 current versioned ones, and two older versions.
    assert (report.objects, report.chunk_files) == (21 + 10 + 1, 20 + 4)
    assert report.bytes == 11 * len(SMALL) + 21 * len(LARGE)


async def test_an_empty_store_is_clean(tmp_path: Path) -> None:
    async with running_engine(tmp_path):
        pass
    assert check(tmp_path) == Report()


async def test_a_damaged_record_is_found_and_hides_nothing_else(tmp_path: Path) -> None:
    await store_objects(tmp_path, overwrite_row("records", flip), large=False)
    report = check(tmp_path)
    assert ("damaged-record", "small") in kinds(report)
    assert (report.damages, report.orphans, report.clean) == (1, 1, False)


@pytest.mark.parametrize("change", [flip, lambda value: value + b"x", lambda value: None])
async def test_a_damaged_or_missing_payload_is_found(
    tmp_path: Path, change: Callable[[bytes], bytes | None]
) -> None:
    await store_objects(tmp_path, overwrite_row("payloads", change))
    assert kinds(check(tmp_path)) == [("damaged-payload", "small")]


@pytest.mark.parametrize("position", [0, BLOCK_BYTES, len(LARGE) - 1, len(LARGE) + 10, -1, -10, -20])
async def test_a_flipped_byte_anywhere_in_a_chunk_file_is_found(tmp_path: Path, position: int) -> None:
    await store_objects(tmp_path)
    (file,) = stored(tmp_path)
    file.write_bytes(flip(file.read_bytes(), position))
    assert kinds(check(tmp_path)) == [("damaged-chunk", "large")]


@pytest.mark.parametrize("length", [0, 10, BLOCK_BYTES, len(LARGE)])
async def test_a_truncated_chunk_file_is_found(tmp_path: Path, length: int) -> None:
    await store_objects(tmp_path)
    os.truncate(stored(tmp_path)[0], length)
    assert kinds(check(tmp_path)) == [("damaged-chunk", "large")]


async def test_a_missing_chunk_file_is_found(tmp_path: Path) -> None:
    await store_objects(tmp_path)
    stored(tmp_path)[0].unlink()
    assert kinds(check(tmp_path)) == [("missing-chunk", "large")]


async def test_a_mountpath_that_was_not_given_is_a_missing_chunk(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        info = await put_in_chunks(engine, "a", LARGE, 300_000)
        kept_by = (await engine.store.head(BUCKET, "a")).location.partition(":")[2]
    assert {chunk.mountpath for chunk in info.record.chunks} == {"mp1", "mp2"}
    report = verify({kept_by: tmp_path / kept_by})
    assert kinds(report) == [("missing-chunk", "a")]


def manifest_in(folder: Path) -> Path:
    return next(path for path in stored(folder) if path.suffix == ".manifest")


async def test_a_damaged_or_missing_manifest_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put_in_chunks(engine, "a", LARGE, 300_000)
    manifest = manifest_in(tmp_path)
    manifest.write_bytes(flip(manifest.read_bytes(), 40))
    assert kinds(check(tmp_path)) == [("damaged-manifest", "a")]
    manifest.unlink()
    assert kinds(check(tmp_path)) == [("damaged-manifest", "a")]


@pytest.mark.parametrize("said", ["U0hPQUxtZjE", "not base64!", "U0hP"])
async def test_a_damaged_manifest_of_a_copy_is_found(tmp_path: Path, said: str) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", LARGE)
        await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    manifest = manifest_in(tmp_path)
    manifest.unlink()
    manifest.symlink_to(said)
    assert kinds(check(tmp_path)) == [("damaged-manifest", "b")]


async def test_a_copy_that_nothing_names_leaves_orphans(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", LARGE)
        await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
        await engine.store.delete(BUCKET, "a")
        overwrite_row("records", lambda _: None)(engine)
    assert [kind for kind, _ in kinds(check(tmp_path))] == ["orphan-chunk", "orphan-manifest"]


async def test_a_manifest_of_other_chunks_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        for name in ("a", "b"):
            await put_in_chunks(engine, name, LARGE, 300_000)
    first, second = (path for path in stored(tmp_path) if path.suffix == ".manifest")
    first.write_bytes(second.read_bytes())
    ((kind, _),) = kinds(check(tmp_path))
    assert kind == "damaged-manifest"


async def test_chunks_that_no_record_names_are_orphans_and_do_no_harm(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await engine.writer.write(BUCKET, PutRequest("one"), in_pieces(LARGE))
        await engine.writer.write(BUCKET, PutRequest("three"), in_pieces(LARGE), chunk_bytes=400_000)
    report = check(tmp_path)
    assert report.clean
    assert [kind for kind, _ in kinds(report)] == ["orphan-chunk"] * 4 + ["orphan-manifest"]


async def test_a_payload_that_no_record_names_is_an_orphan(tmp_path: Path) -> None:
    await store_objects(tmp_path, overwrite_row("records", lambda value: None), large=False)
    report = check(tmp_path)
    assert report.clean
    assert [kind for kind, _ in kinds(report)] == ["orphan-payload"]


async def test_an_old_version_is_checked_like_the_current_one(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", LARGE, bucket=VERSIONED)
        (old,) = stored(tmp_path)
        await put(engine, "a", LARGE, bucket=VERSIONED)
    old.write_bytes(flip(old.read_bytes(), 0))
    ((kind, what),) = kinds(check(tmp_path))
    assert kind == "damaged-chunk"
    assert what.startswith("a\0")


async def test_files_that_are_not_shoals_are_left_out(tmp_path: Path) -> None:
    await store_objects(tmp_path)
    for name in ("notes.txt", "0" * 31, "z" * 32 + ".bak", "z" * 32, "0" * 32 + ".manifest.old"):
        (tmp_path / "mp1" / "data" / "00" / name).write_bytes(b"an administrator's")
    assert kinds(check(tmp_path)) == []


async def test_a_store_is_checked_while_its_engine_commits(tmp_path: Path) -> None:
    """By another process, as LMDB wants it and as the command does it."""
    async with running_engine(tmp_path) as engine:
        await put(engine, "kept", LARGE)
        checking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHECK, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        output = asyncio.create_task(checking.communicate())
        rounds = 0
        while not output.done():
            rounds += 1
            for number in range(3):
                await put(engine, f"large-{number}", LARGE)
                await put(engine, f"small-{number}", SMALL)
    assert rounds > 1
    assert output.result()[0].split() == [b"damages", b"0"]


CHECK = """
import sys
from pathlib import Path
from shoal_store.fsck import verify
folders = {name: Path(sys.argv[1]) / name for name in ("mp1", "mp2")}
print("damages", max(verify(folders).damages for _ in range(10)))
"""


async def test_keys_out_of_order_are_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        for name in ("aa", "bb", "cc"):
            await put(engine, name, SMALL)
    file = tmp_path / "mp1" / "index" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(BUCKET.id + b"bb", BUCKET.id + b"zz"))
    assert {("keys-out-of-order", "cc"), ("damaged-record", "zz")} <= set(kinds(check_one(tmp_path)))


def check_one(folder: Path) -> Report:
    return verify({"mp1": folder / "mp1"})


async def test_a_record_in_the_index_of_another_mountpath_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        name = name_kept_by(engine, "mp1")
        await put(engine, name, LARGE)
        right, wrong = engine.indexes["mp1"], engine.indexes["mp2"]
        key = BUCKET.id + name.encode()
        with right.read() as reading, wrong.write() as writing:
            value = bytes(reading.get(key, b"", db=right.records))
            wrong.put_row(writing, "records", key=key, value=value)
    assert kinds(check(tmp_path)) == [("misplaced-record", name)]


async def test_an_index_whose_pages_are_gone_is_found_and_makes_no_orphans(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        for number in range(20):
            await put(engine, f"small-{number}", os.urandom(16_000))
        await put(engine, "large", LARGE)
    file = tmp_path / "mp1" / "index" / "data.mdb"
    content = file.read_bytes()
    pages = [content[start : start + PAGE_BYTES] for start in range(0, len(content), PAGE_BYTES)]
    file.write_bytes(b"".join(bytes(len(page)) if BUCKET.id + b"small-" in page else page for page in pages))
    (finding,) = check_one(tmp_path).findings
    assert finding.kind == "damaged-index"


async def test_progress_is_told_for_each_thousand_objects(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        index = engine.indexes["mp1"]
        await put(engine, "a", b"")
        with index.write() as transaction:
            for number in range(2500):
                index.put_row(
                    transaction, "records", key=BUCKET.id + f"b{number:04}".encode(), value=b"damaged"
                )
    told: list[tuple[str, int]] = []
    report = verify({"mp1": tmp_path / "mp1"}, progress=lambda *each: told.append(each))
    assert told == [("mp1", 1), ("mp1", 1)]
    assert report.damages == 2500
    assert len(report.findings) == FINDINGS_MAX


def test_only_orphans_are_harmless() -> None:
    assert Finding("orphan-chunk", "mp1", "x").harmless
    assert not Finding("damaged-record", "mp1", "x").harmless
