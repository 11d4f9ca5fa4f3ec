"""docs/storage-format.md is enough to read the disks: a reader that knows nothing but that page finds every byte."""

from __future__ import annotations

import base64
import os
import struct
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest
import xxhash

from shoal_core.errors import DataCorrupt
from shoal_core.objects import CopyRequest, ListQuery, PutRequest
from shoal_store.engine import Engine
from support.engines import (
    BUCKET,
    VERSIONED,
    get,
    in_pieces,
    mountpath_folders,
    put,
    put_in_chunks,
    put_in_parts,
    running_engine,
)
from support.layouts import put_versions

# The reader, by the page


class DiskReader:
    """Of one target's mountpaths, by their ids."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.environments = {
            id: lmdb.open(str(path / "index"), readonly=True, max_dbs=7) for id, path in folders.items()
        }

    def index_of(self, bucket_id: bytes, name: bytes) -> str:
        hashed = xxhash.xxh3_64_digest(bucket_id + b"\0" + name)
        return max(self.folders, key=lambda id: xxhash.xxh3_64_intdigest(hashed + id.encode()))

    @staticmethod
    def object_key(bucket_id: bytes, name: bytes) -> bytes:
        return bucket_id + (name if len(name) <= 440 else name[:440] + xxhash.xxh3_128_digest(name))

    def rows(self, id: str, table: str) -> dict[bytes, bytes]:
        environment = self.environments[id]
        database = environment.open_db(table.encode(), create=False)
        with environment.begin(db=database) as transaction:
            return dict(transaction.cursor())

    def ledger(self, id: str) -> bytes:
        """As it should be."""
        tables = [self.rows(id, table).values() for table in ("records", "versions", "uploads")]
        sums = [reduce(xor, [int.from_bytes(value[1:9]) for value in values], 0) for values in tables]
        return struct.pack(">4Q", self.environments[id].info()["last_txnid"], *sums)

    @staticmethod
    def unsealed(key: bytes, value: bytes) -> list[Any]:
        assert value[0] == 1
        assert value[1:9] == xxhash.xxh3_64_digest(key + value[9:])
        fields: list[Any] = msgspec.msgpack.decode(value[9:])
        return fields

    def record(self, bucket_id: bytes, name: str) -> list[Any]:
        key = self.object_key(bucket_id, name.encode())
        return self.unsealed(key, self.rows(self.index_of(bucket_id, name.encode()), "records")[key])

    def content(self, bucket_id: bytes, name: str) -> bytes:
        record = self.record(bucket_id, name)
        chunks, payload_checksum, version = record[6], record[7], record[10]
        if chunks:
            return b"".join(self.chunk(*chunk) for chunk in chunks)
        payload = self.rows(self.index_of(bucket_id, name.encode()), "payloads")[bucket_id + version]
        assert xxhash.xxh3_64_intdigest(payload) == payload_checksum
        return payload

    def chunk_file(self, mountpath: str, file_id: bytes) -> tuple[bytes, list[Any]]:
        """The whole file, and its footer's fields."""
        name = file_id.hex()
        whole = (self.folders[mountpath] / "data" / name[:2] / name).read_bytes()
        footer_length, checksum, magic = struct.unpack(">IQ8s", whole[-20:])
        footer = whole[-20 - footer_length : -20]
        assert (magic, xxhash.xxh3_64_intdigest(footer)) == (b"SHOALck1", checksum)
        return whole, msgspec.msgpack.decode(footer)

    def chunk(
        self, mountpath: str, file_id: bytes, length: int, blocks_checksum: int, _synced: bool = False
    ) -> bytes:
        whole, fields = self.chunk_file(mountpath, file_id)
        format, id, _upload, _position, found, block_bytes, checksums, _birth = fields
        assert (format, id, found, xxhash.xxh3_64_intdigest(checksums)) == (
            1,
            file_id,
            length,
            blocks_checksum,
        )
        for number, start in enumerate(range(0, length, block_bytes)):
            block = whole[start : min(start + block_bytes, length)]
            assert xxhash.xxh3_64_digest(block) == checksums[8 * number : 8 * number + 8]
        return whole[:length]

    def manifest(self, record: list[Any]) -> tuple[bytes, list[Any]]:
        mountpath, file_id, *_ = record[6][0]
        name = file_id.hex()
        path = self.folders[mountpath] / "data" / name[:2] / f"{name}.manifest"
        whole = base64.urlsafe_b64decode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        magic, length = struct.unpack(">8sI", whole[:12])
        assert magic == b"SHOALmf1"
        key, value = whole[12 : 12 + length], whole[12 + length :]
        return key, self.unsealed(key, value)


# What the engine wrote


@contextmanager
def reading(folder: Path) -> Iterator[DiskReader]:
    reader = DiskReader(mountpath_folders(folder))
    yield reader
    for environment in reader.environments.values():
        environment.close()


SMALL, LARGE = os.urandom(5_000), os.urandom(2_500_000)
LONG = "é" * 250


@pytest.mark.parametrize(
    ("name", "data"), [("small", SMALL), ("empty", b""), ("large", LARGE), (LONG, LARGE)]
)
async def test_an_object_is_found_by_the_page(tmp_path: Path, name: str, data: bytes) -> None:
    async with running_engine(tmp_path) as engine:
        for other in range(20):
            await put(engine, f"other-{other}", b"x")
        await put(engine, name, b"an older version")
        await put(engine, name, data)
    with reading(tmp_path) as reader:
        record = reader.record(BUCKET.id, name)
        assert (record[0], record[8], record[11]) == (len(data), name if name == LONG else "", 2)
        assert reader.content(BUCKET.id, name) == data


async def in_chunks(engine: Engine) -> None:
    await put_in_chunks(engine, "a", LARGE, 700_000)


async def in_parts(engine: Engine) -> None:
    await put_in_parts(engine.store, "a", LARGE)


@pytest.mark.parametrize("write", [in_chunks, in_parts])
async def test_several_chunks_and_their_manifest_are_found_by_the_page(tmp_path: Path, write: Any) -> None:
    async with running_engine(tmp_path) as engine:
        await write(engine)
    with reading(tmp_path) as reader:
        record = reader.record(BUCKET.id, "a")
        assert len(record[6]) > 1
        assert reader.content(BUCKET.id, "a") == LARGE
        key, manifest = reader.manifest(record)
        assert (key, manifest[6], manifest[10:12]) == (BUCKET.id + b"a", record[6], [b"", 0])
        assert 0 < manifest[12] < record[12]
        assert bool(manifest[9]) == (write is in_parts)


async def test_the_manifest_of_a_copy_is_found_by_the_page(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", LARGE)
        await engine.store.copy(BUCKET, CopyRequest(BUCKET, "a", "b"))
    with reading(tmp_path) as reader:
        record = reader.record(BUCKET.id, "b")
        key, manifest = reader.manifest(record)
        assert (key, manifest[6], manifest[16]) == (BUCKET.id + b"b", record[6], True)
        assert record[6][0][4], "its bytes were synced"


async def test_older_versions_and_delete_markers_are_found_by_the_page(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put_versions(engine, "a", b"1", b"2")
        await engine.store.delete(VERSIONED, "a")
    with reading(tmp_path) as reader:
        rows = reader.rows(reader.index_of(VERSIONED.id, b"a"), "versions")
        records = [reader.unsealed(key, value) for key, value in rows.items()]
        assert [record[13] for record in records] == [True, False, False]
        assert [record[11] for record in records] == [3, 2, 1]
        for key, record in zip(rows, records, strict=True):
            assert key == VERSIONED.id + b"a\0" + bytes(255 - byte for byte in record[10])


async def test_an_upload_under_way_is_found_by_the_page(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        upload = await engine.store.begin_upload(BUCKET, PutRequest("a", content_type="text/x"))
        request = PutRequest("a")
        part = await engine.store.put_part(BUCKET, upload.id, 300, request, in_pieces(SMALL))
    with reading(tmp_path) as reader:
        rows = reader.rows(reader.index_of(BUCKET.id, b"a"), "uploads")
        begun, written = [reader.unsealed(key, value) for key, value in rows.items()]
        place = BUCKET.id + bytes.fromhex(upload.id)
        assert list(rows) == [place, place + (300).to_bytes(2)]
        assert (begun[0], begun[1]) == ("a", "text/x")
        assert (written[0], written[1]) == (len(SMALL), part.etag)
        assert b"".join(reader.chunk(*chunk) for chunk in written[5]) == SMALL


async def test_the_chunks_of_an_object_say_where_they_belong(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await in_chunks(engine)
    with reading(tmp_path) as reader:
        record = reader.record(BUCKET.id, "a")
        footers = [reader.chunk_file(mountpath, id)[1] for mountpath, id, *_ in record[6]]
        assert [footer[3] for footer in footers] == [0, 700_000, 1_400_000, 2_100_000]
        assert {tuple(footer[7][:2]) for footer in footers} == {(BUCKET.id, "a")}
        assert [footer[7][4] for footer in footers] == ["", "", "", record[1]]


async def test_a_version_is_the_time_and_the_target_and_the_sequence_begins_anew(tmp_path: Path) -> None:
    before = time.time_ns() // 1_000_000
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", b"1")
        await engine.store.delete(BUCKET, "a")
        await put(engine, "a", b"2")
    with reading(tmp_path) as reader:
        record = reader.record(BUCKET.id, "a")
        clock, node = struct.unpack(">QI", record[10])
        assert before <= clock >> 16 <= time.time_ns() // 1_000_000
        assert (node, record[11]) == (xxhash.xxh32_intdigest(b"t1"), 1)
        index = reader.index_of(BUCKET.id, b"a")
        assert reader.rows(index, "meta")[b"clock"] == record[10][:8]
        assert reader.rows(index, "meta")[b"ledger"] == reader.ledger(index)


async def test_what_belongs_to_the_whole_mountpath_is_found_by_the_page(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        engine.own(7, bytes((0b100,)) + bytes(8191))
    identity = msgspec.json.decode((tmp_path / "mp2" / "shoal.json").read_bytes())
    assert (identity["format"], identity["target"], identity["mountpath"]) == (1, "t1", "mp2")
    assert len(list((tmp_path / "mp2" / "data").iterdir())) == 256
    with reading(tmp_path) as reader:
        meta = reader.rows("mp2", "meta")
        assert meta.pop(b"ledger") == reader.ledger("mp2")
        assert meta == {b"format": b"\x02", b"mountpaths": b"mp1,mp2"}
        owned = reader.rows("mp2", "slots")[b"owned"]
        epoch, bitmap = int.from_bytes(owned[:8]), owned[8:]
        slots = [slot for slot in range(65_536) if bitmap[slot // 8] >> slot % 8 & 1]
        assert (epoch, slots) == (7, [2])


async def test_a_record_of_another_format_stands_in_nobody_elses_way_but_a_listings(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "other", b"1")
        await put(engine, "newer", b"2")
        key, index = BUCKET.id + b"newer", engine.indexes["mp1"]
        with index.write() as transaction:
            value = bytes(transaction.get(key, b"", db=index.records))
            transaction.put(key, b"\x02" + value[1:], db=index.records)
        assert await get(engine, "other") == b"1"
        await refused(get(engine, "newer"))
        await refused(put(engine, "newer", b"3"))
        await refused(engine.store.delete(BUCKET, "newer"))
        await refused(engine.store.list(BUCKET, ListQuery()))


async def refused(work: Awaitable[object]) -> None:
    with pytest.raises(DataCorrupt, match="has format 2; this Shoal knows 1"):
        await work
