"""The steps of `scrub`: silent about a healthy store and one that changes, and a finding for each kind of damage."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from shoal_core.errors import Unavailable
from shoal_core.part_runs import PartRun
from shoal_store.checking import KEYS_BETWEEN_RESTS
from shoal_store.chunkfile import BLOCK_BYTES, chunk_path
from shoal_store.engine import Engine
from shoal_store.record import decode_record, encode_record
from shoal_store.scrub import BATCH_ROWS, START, STEP_BYTES, Position, Step, scrub
from support.engines import (
    BUCKET,
    VERSIONED,
    name_kept_by,
    put,
    put_in_chunks,
    put_in_parts,
    put_many,
    running_engine,
    settled,
    stored,
)
from support.layouts import upload_a_part

LARGE = os.urandom(BLOCK_BYTES + 54_321)
SMALL = b"small object"
LIBC = ctypes.CDLL(None, use_errno=True)


def steps(engine: Engine, after: Position = START) -> Iterator[Step]:
    return scrub(engine.indexes, engine.mountpaths, after=after)


def kinds(found: Iterator[Step]) -> list[tuple[str, str]]:
    return sorted((finding.kind, finding.what) for step in found for finding in step.findings)


def flipped(value: bytes, position: int = -1) -> bytes:
    changed = bytearray(value)
    changed[position] ^= 1
    return bytes(changed)


def change_row(engine: Engine, table: str, change: Callable[[bytes], bytes]) -> None:
    """In the only row of that table, on whichever mountpath."""
    for index in engine.indexes.values():
        with index.write() as transaction, transaction.cursor(db=getattr(index, table)) as cursor:
            if cursor.first():
                index.put_row(
                    transaction, table, key=bytes(cursor.key()), value=change(bytes(cursor.value()))
                )


async def test_a_healthy_store_is_counted_and_clean(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put_many(engine, [f"tiny-{number}" for number in range(2 * BATCH_ROWS)])
        await put(engine, "n" * 1000, SMALL)
        await put_in_chunks(engine, "chunks", LARGE, 300_000)
        for _ in range(2):
            await put(engine, "old", LARGE, bucket=VERSIONED)
        await engine.store.delete(VERSIONED, "old")
        await upload_a_part(engine, "part", LARGE, number=7)
        found = list(steps(engine))
    assert kinds(iter(found)) == []
    assert sum(step.objects for step in found) == 2 * BATCH_ROWS + 2 + 2
    assert sum(step.bytes_read for step in found) == 2 * BATCH_ROWS + len(SMALL) + 4 * len(LARGE)
    # Beside the objects: a delete marker, an upload and its part.
    assert sum(step.rows for step in found) == 2 * BATCH_ROWS + 2 + 2 + 3


@pytest.mark.parametrize(("table", "kind"), [("records", "damaged-record"), ("payloads", "damaged-payload")])
async def test_a_flipped_bit_in_the_index_is_found(tmp_path: Path, table: str, kind: str) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "small", SMALL)
        change_row(engine, table, flipped)
        assert kinds(steps(engine)) == [(kind, "small")]


@pytest.mark.parametrize("position", [0, BLOCK_BYTES, len(LARGE) - 1, len(LARGE) + 10, -1, -10, -20])
async def test_a_flipped_bit_in_a_chunk_file_is_found(tmp_path: Path, position: int) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "large", LARGE)
        (file,) = stored_chunks(tmp_path)
        file.write_bytes(flipped(file.read_bytes(), position))
        assert kinds(steps(engine)) == [("damaged-chunk", "large")]


async def test_a_missing_chunk_file_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "large", LARGE)
        stored_chunks(tmp_path)[0].unlink()
        assert kinds(steps(engine)) == [("missing-chunk", "large")]


async def test_a_damaged_part_of_an_upload_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        upload_id, _ = await upload_a_part(engine, "a", LARGE, number=7)
        (file,) = stored_chunks(tmp_path)
        file.write_bytes(flipped(file.read_bytes(), 0))
        assert kinds(steps(engine)) == [("damaged-chunk", f"upload {upload_id}, part 7")]


async def test_a_damaged_manifest_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put_in_chunks(engine, "a", LARGE, 300_000)
        next(path for path in stored(tmp_path) if path.suffix == ".manifest").unlink()
        assert kinds(steps(engine)) == [("damaged-manifest", "a")]


async def test_a_record_under_a_wrong_key_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "a", SMALL)
        index = engine.indexes["mp1"]
        with index.write() as transaction:
            value = bytes(transaction.get(BUCKET.id + b"a", b"", db=index.records))
            index.put_row(transaction, "records", key=BUCKET.id + b"b", value=value)
        assert kinds(steps(engine)) == [("damaged-record", "b")]


async def test_a_record_in_the_index_of_another_mountpath_is_found(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        name = name_kept_by(engine, "mp1")
        await put(engine, name, LARGE)
        right, wrong = engine.indexes["mp1"], engine.indexes["mp2"]
        with right.read() as transaction:
            value = bytes(transaction.get(BUCKET.id + name.encode(), b"", db=right.records))
        with wrong.write() as transaction:
            wrong.put_row(transaction, "records", key=BUCKET.id + name.encode(), value=value)
        assert kinds(steps(engine)) == [("misplaced-record", name)]


@pytest.mark.parametrize("wrong", [{"size": 7}, {"parts": (PartRun(1, 2, 7),)}])
async def test_a_record_that_contradicts_itself_is_found(tmp_path: Path, wrong: dict[str, object]) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put_in_parts(engine.store, "a", LARGE)
        key = BUCKET.id + b"a"

        def contradicted(value: bytes) -> bytes:
            return encode_record(key, msgspec.structs.replace(decode_record(key, value), **wrong))

        change_row(engine, "records", contradicted)
        assert ("damaged-record", "a") in kinds(steps(engine))


async def test_keys_out_of_order_are_found_and_end_the_walk(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        for name in ("aa", "bb", "cc"):
            await put(engine, name, SMALL)
    file = tmp_path / "mp1" / "index" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(BUCKET.id + b"bb", BUCKET.id + b"zz"))
    async with running_engine(tmp_path, mountpaths=1) as engine:
        assert {("keys-out-of-order", "cc"), ("damaged-record", "zz")} <= set(kinds(steps(engine)))


async def test_what_is_overwritten_or_deleted_meanwhile_is_not_reported(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        for name in ("a", "b", "c", "d"):
            await put(engine, name, os.urandom(STEP_BYTES))
        walk = steps(engine)
        # One for the order of keys; the next ends behind "a", with the rows of the others in its hand.
        found = [next(walk), next(walk)]
        await put(engine, "b", SMALL)
        await put(engine, "c", LARGE)
        await engine.store.delete(BUCKET, "d")
        await settled(engine)
        assert kinds(iter([*found, *walk])) == []


async def test_damage_in_one_object_hides_none_in_others(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "a", LARGE)
        await put(engine, "b", LARGE)
        await put(engine, "c", LARGE)
        for file in stored_chunks(tmp_path):
            file.write_bytes(flipped(file.read_bytes(), 5))
        assert kinds(steps(engine)) == [("damaged-chunk", name) for name in ("a", "b", "c")]


async def test_a_scrub_goes_on_from_each_position_that_it_told(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put_many(engine, [f"tiny-{number:04}" for number in range(3 * BATCH_ROWS)])
        await put(engine, "old", LARGE, bucket=VERSIONED)
        await put(engine, "old", LARGE, bucket=VERSIONED)
        whole = list(steps(engine))
        assert len({step.position for step in whole}) > 4
        for number, step in enumerate(whole):
            if step.position is not None:
                rest = sum(each.rows for each in steps(engine, step.position))
                assert rest == sum(each.rows for each in whole[number + 1 :])


async def test_a_step_is_bounded(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "large", os.urandom(5 * STEP_BYTES))
        assert max(step.bytes_read for step in steps(engine)) <= STEP_BYTES + BLOCK_BYTES


def stored_chunks(folder: Path) -> list[Path]:
    return [path for path in stored(folder) if not path.suffix]


async def test_the_page_cache_is_left_as_it_was(tmp_path: Path) -> None:
    """Needs a filesystem on which pages can leave memory, which tmpfs is not."""
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "cold", os.urandom(4 * BLOCK_BYTES))
        await put(engine, "hot", os.urandom(4 * BLOCK_BYTES))
        cold, hot = (file_of(engine, tmp_path, name) for name in ("cold", "hot"))
        for path in (cold, hot):
            drop_from_memory(path)
        if pages_in_memory(cold):
            pytest.skip("this filesystem keeps pages in memory")
        hot.read_bytes()
        assert kinds(steps(engine)) == []
        assert pages_in_memory(cold) <= 2  # The footer's.
        assert pages_in_memory(hot) >= 4 * BLOCK_BYTES // 4096


def file_of(engine: Engine, folder: Path, name: str) -> Path:
    index = engine.indexes["mp1"]
    key = BUCKET.id + name.encode()
    with index.read() as transaction:
        (chunk,) = decode_record(key, transaction.get(key, b"", db=index.records)).chunks
    return chunk_path(folder / "mp1", chunk.file_id)


def drop_from_memory(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def pages_in_memory(path: Path) -> int:
    """By mincore(2): a look by RWF_NOWAIT would bring pages in."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        states = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        failed = LIBC.mincore(ctypes.byref(first), ctypes.c_size_t(len(mapped)), states)
        del first
        assert not failed, os.strerror(ctypes.get_errno())
        return sum(state & 1 for state in states)


async def test_a_lack_of_descriptors_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with running_engine(tmp_path) as engine:
        await put(engine, "large", LARGE)
        monkeypatch.setattr("shoal_store.checking.PassingReader", exhausted)
        with pytest.raises(Unavailable):
            list(steps(engine))


async def test_a_walk_over_many_keys_lets_others_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[None] = []
    monkeypatch.setattr("shoal_store.scrub.rest", lambda: rests.append(None))
    async with running_engine(tmp_path, mountpaths=1) as engine:
        index = engine.indexes["mp1"]
        with index.write() as transaction:
            for number in range(2 * KEYS_BETWEEN_RESTS + 1):
                transaction.put(BUCKET.id + f"{number:06}".encode(), b"damaged", db=index.records)
        next(steps(engine))
    assert len(rests) == 2
