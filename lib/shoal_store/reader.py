"""Reading: look the record up, open the files that it names, verify, serve. No locks; any process of the host."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping

import xxhash

from shoal_core.errors import DataCorrupt, ObjectNotFound, RangeNotSatisfiable
from shoal_core.objects import (
    FRAME_BYTES,
    Bucket,
    ByteRange,
    ListPage,
    ListQuery,
    ObjectInfo,
    Preconditions,
    RangeRequest,
)
from shoal_core.placement import slot_of_encoded
from shoal_store import conditions
from shoal_store.chunkfile import ChunkReader, chunk_path
from shoal_store.durability import storage_error
from shoal_store.index import Index
from shoal_store.keys import encode_name, key_of
from shoal_store.listing import list_page
from shoal_store.mountpaths import Mountpaths
from shoal_store.ready import FileRange, ReadyObject, chunk_ranges, close_files, is_cached
from shoal_store.record import Record, decode_record
from shoal_store.threads import in_thread
from shoal_store.uploads_read import UploadReader
from shoal_store.window import VerifiedWindow

ATTEMPTS_LEFT = tuple(reversed(range(10)))
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class StoreReader:
    def __init__(self, mountpaths: Mountpaths, indexes: Mapping[str, Index], *, target: str) -> None:
        self._mountpaths = mountpaths
        self._indexes = indexes
        self._target = target
        self._window = VerifiedWindow()
        self.uploads = UploadReader(mountpaths, indexes, target=target)

    def head(self, bucket: Bucket, name: str, preconditions: Preconditions) -> ObjectInfo:
        record, _, location = self._find(bucket, name, with_payload=False)
        conditions.check(preconditions, record, reading=True)
        return record.info(name, location)

    async def open(
        self, bucket: Bucket, name: str, range: RangeRequest | None, preconditions: Preconditions
    ) -> StoredBody:
        for attempt in ATTEMPTS_LEFT:
            record, payload, location = self._find(bucket, name, with_payload=True)
            conditions.check(preconditions, record, reading=True)
            wanted = None if range is None else range.resolve(record.size)
            if range is not None and wanted is None:
                raise RangeNotSatisfiable(
                    f"the range lies outside the object's {record.size} bytes", size=str(record.size)
                )
            readers: list[ChunkReader] = []
            try:
                if record.chunks:
                    await in_thread(self._open_chunks, record, readers)
            except FileNotFoundError as error:
                close_all(readers)
                if not attempt:
                    raise DataCorrupt(
                        f"a chunk file of {bucket.reference}/{name} is missing: run `shoal fsck`"
                    ) from error
                continue
            except OSError as error:
                close_all(readers)
                raise storage_error(
                    error, f"cannot open a chunk file of {bucket.reference}/{name}"
                ) from error
            except BaseException:
                close_all(readers)
                raise
            window = None if bucket.properties.verify == "always" else self._window
            return StoredBody(record.info(name, location), wanted, record, payload, readers, window)
        raise AssertionError("the last attempt returns or raises")

    def ready(
        self, bucket: Bucket, name: str, range: RangeRequest | None, *, with_bytes: bool
    ) -> ReadyObject | None:
        """The current version if it can be sent at once; None when `open` or `head` has to look.

        Raises ObjectNotFound, DataCorrupt, StaleEpoch and InvalidName. Whoever gets files closes them.
        """
        record, payload, location = self._find(bucket, name, with_payload=with_bytes)
        wanted = None if range is None else range.resolve(record.size)
        if range is not None and wanted is None:
            return None
        if not with_bytes:
            return ReadyObject(record, location, wanted)
        start, length = (wanted.offset, wanted.length) if wanted else (0, record.size)
        if not record.chunks:
            part = payload[start : start + length] if wanted else payload
            return ReadyObject(record, location, wanted, part)
        if bucket.properties.verify == "always":
            return None
        files = self._ready_files(record, start, length)
        return None if files is None else ReadyObject(record, location, wanted, b"", files)

    def _ready_files(self, record: Record, start: int, length: int) -> list[FileRange] | None:
        """None unless all of the range is verified, in memory, and still there."""
        ranges = chunk_ranges(record.chunks, start, length)
        for chunk, offset, end in ranges:
            if not self._window.holds_range(chunk.file_id, offset, end - offset):
                return None
        files: list[FileRange] = []
        try:
            for chunk, offset, end in ranges:
                path = self._mountpaths.chunk_name(chunk.mountpath, chunk.file_id)
                files.append(FileRange(os.open(path, OPEN_FLAGS), offset, end))
                if not is_cached(files[-1].descriptor, offset, end):
                    close_files(files)
                    return None
        except OSError:
            close_files(files)
            return None
        return files

    def page(self, bucket: Bucket, query: ListQuery) -> ListPage:
        """Blocks while it reads: call it in a thread."""
        return list_page(tuple(self._indexes.values()), self._target, bucket, query)

    def _find(self, bucket: Bucket, name: str, *, with_payload: bool) -> tuple[Record, bytes, str]:
        encoded = encode_name(name)
        key = key_of(bucket.id, encoded)
        index = self._indexes[self._mountpaths.of_name(bucket.id, encoded)]
        with index.read() as transaction:
            index.check_owner(transaction, slot_of_encoded(bucket.id, encoded))
            if (value := transaction.get(key, db=index.records)) is None:
                raise ObjectNotFound(
                    f"{bucket.reference}/{name} does not exist", bucket=str(bucket.reference), name=name
                )
            record, payload = decode_record(key, value), b""
            if with_payload and record.inline:
                payload = bytes(transaction.get(bucket.id + record.version, b"", db=index.payloads))
                if (
                    len(payload) != record.size
                    or xxhash.xxh3_64_intdigest(payload) != record.payload_checksum
                ):
                    raise DataCorrupt(
                        f"the bytes of {bucket.reference}/{name} fail their checksum: run `shoal fsck`"
                    )
        return record, payload, f"t[{self._target}]:{index.mountpath_id}"

    def _open_chunks(self, record: Record, readers: list[ChunkReader]) -> None:
        """Adds to `readers`, which the caller closes."""
        for chunk in record.chunks:
            path = chunk_path(self._mountpaths.path(chunk.mountpath), chunk.file_id)
            readers.append(ChunkReader(path, blocks_checksum=chunk.blocks_checksum))
            if readers[-1].footer.length != chunk.length:
                raise DataCorrupt("a chunk file has another length than its record says: run `shoal fsck`")


def close_all(readers: list[ChunkReader]) -> None:
    for reader in readers:
        reader.close()


class StoredBody:
    """`ObjectBody` over a record's payload or chunk files."""

    def __init__(
        self,
        info: ObjectInfo,
        range: ByteRange | None,
        record: Record,
        payload: bytes,
        readers: list[ChunkReader],
        window: VerifiedWindow | None,
    ) -> None:
        self.info = info
        self.range = range
        self._record = record
        self._payload = payload
        self._readers = readers
        self._window = window

    async def chunks(self) -> AsyncIterator[bytes]:
        start, length = (self.range.offset, self.range.length) if self.range else (0, self.info.size)
        if self._record.inline:
            if length:
                yield self._payload[start : start + length]
            return
        begin = 0
        for reader in self._readers:
            end = begin + reader.footer.length
            offset, stop = max(start, begin) - begin, min(start + length, end) - begin
            while offset < stop:
                block_end = (offset // reader.footer.block_bytes + 1) * reader.footer.block_bytes
                piece = min(stop, block_end, offset + FRAME_BYTES) - offset
                yield await in_thread(self._read, reader, offset, piece)
                offset += piece
            begin = end

    def _read(self, reader: ChunkReader, offset: int, length: int) -> bytes:
        block, file_id = offset // reader.footer.block_bytes, reader.footer.chunk_id
        known = self._window is not None and self._window.holds(file_id, block)
        try:
            data = reader.read(offset, length, verify=not known)
        except OSError as error:
            raise storage_error(error, f"cannot read chunk file {file_id.hex()}") from error
        if len(data) != length:
            raise DataCorrupt("a chunk file is shorter than its record says: run `shoal fsck`")
        if self._window is not None and not known:
            self._window.add(file_id, block, block_bytes=reader.footer.block_bytes)
        return data

    async def close(self) -> None:
        close_all(self._readers)
