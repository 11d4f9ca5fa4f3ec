"""Reading: look the record up, open the files that it names, verify, serve. No locks; any process of the host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

import lmdb

from shoal_core.errors import DataCorrupt, MountpathUnavailable, ObjectNotFound, RangeNotSatisfiable
from shoal_core.objects import (
    BodyBytes,
    Bucket,
    ByteRange,
    ListPage,
    ListQuery,
    ObjectInfo,
    Preconditions,
    RangeRequest,
)
from shoal_store import conditions
from shoal_store.chunkfile import ChunkReader, chunk_path
from shoal_store.durability import storage_error
from shoal_store.index import explained
from shoal_store.indexes import Indexes
from shoal_store.keys import PlacedName, encode_name, key_of, placed
from shoal_store.listing import list_page
from shoal_store.looks import Looks
from shoal_store.mountpaths import Mountpaths
from shoal_store.read_counts import ReadCounts
from shoal_store.ready import (
    OPEN_FLAGS,
    READ_BYTES_MAX,
    READY_BYTES,
    FileRange,
    ReadyObject,
    chunk_ranges,
    close_files,
    is_cached,
)
from shoal_store.record import Record, decode_record
from shoal_store.stored_body import OpenPart, StoredBody, close_parts
from shoal_store.threads import in_thread
from shoal_store.uploads_read import UploadReader
from shoal_store.warmth import Warmth
from shoal_store.window import VerifiedWindow

ATTEMPTS_LEFT = tuple(reversed(range(10)))


class StoreReader:
    def __init__(self, mountpaths: Mountpaths, indexes: Indexes, *, target: str) -> None:
        self._mountpaths = mountpaths
        self._indexes = indexes
        self._target = target
        self._locations = {folder.id: f"t[{target}]:{folder.id}" for folder in mountpaths.all}
        self._window = VerifiedWindow()
        self._warmth = Warmth()
        self.counts = ReadCounts()
        self.uploads = UploadReader(mountpaths, indexes, target=target)

    async def head(self, bucket: Bucket, name: str, preconditions: Preconditions) -> ObjectInfo:
        record, _, location = await self._warmth.look(lambda: self.find(bucket, name, with_payload=False))
        conditions.check(preconditions, record, reading=True)
        return record.info(name, location)

    async def open(
        self, bucket: Bucket, name: str, range: RangeRequest | None, preconditions: Preconditions
    ) -> StoredBody:
        for attempt in ATTEMPTS_LEFT:
            record, payload, location = await self._warmth.look(
                lambda: self.find(bucket, name, with_payload=True)
            )
            conditions.check(preconditions, record, reading=True)
            wanted = None if range is None else range.resolve(record.size)
            if range is not None and wanted is None:
                raise RangeNotSatisfiable(
                    f"the range lies outside the object's {record.size} bytes", size=str(record.size)
                )
            try:
                parts = await self._open_parts(record, wanted, f"{bucket.reference}/{name}")
            except FileNotFoundError as error:
                if not attempt:
                    raise DataCorrupt(
                        f"a chunk file of {bucket.reference}/{name} is missing: run `shoal fsck`"
                    ) from error
                continue
            self.counts.add(wanted.length if wanted else record.size)
            window = None if bucket.properties.verify == "always" else self._window
            return StoredBody(record.info(name, location), wanted, payload, parts, window)
        raise AssertionError("the last attempt returns or raises")

    def ready(
        self, bucket: Bucket, name: PlacedName, range: RangeRequest | None, *, with_bytes: bool
    ) -> ReadyObject | None:
        """The current version if it can be sent at once; None when `open` or `head` has to look.

        Raises ObjectNotFound, DataCorrupt and StaleEpoch. Whoever gets files closes them.
        """
        if self._warmth.cold_until and not self._warmth.is_warm:
            return None
        record, payload, location = self._find(bucket, name, with_payload=with_bytes)
        self._warmth.looked()
        if range is None and with_bytes and not record.chunks:
            self.counts.add(record.size)
            return ReadyObject(record, location, None, payload)
        wanted = None
        if range is not None and (wanted := range.resolve(record.size)) is None:
            return None
        if not with_bytes:
            return ReadyObject(record, location, wanted)
        start, length = (wanted.offset, wanted.length) if wanted else (0, record.size)
        if not record.chunks:
            part = payload[start : start + length] if wanted else payload
            self.counts.add(length)
            return ReadyObject(record, location, wanted, part)
        data: BodyBytes | None = b""
        files: Sequence[FileRange] | None = ()
        if length <= READ_BYTES_MAX:
            with closing(self.looks()) as looks:
                data = looks.read(bucket, record, start, length)
        else:
            files = self.ready_files(bucket, record, start, length)
        if data is None or files is None:
            return None
        self.counts.add(length)
        return ReadyObject(record, location, wanted, data, files)

    def looks(self) -> Looks:
        """For many objects at once, as a batch has them."""
        return Looks(self._mountpaths, self._indexes, self._window, self._warmth)

    def ready_files(self, bucket: Bucket, record: Record, start: int, length: int) -> list[FileRange] | None:
        """None unless all of the range is verified and still there, and its beginning in memory."""
        if bucket.properties.verify == "always":
            return None
        ranges = chunk_ranges(record.chunks, start, length)
        for chunk, offset, end in ranges:
            if not self._window.holds_range(chunk.file_id, offset, end):
                return None
        files: list[FileRange] = []
        try:
            for chunk, offset, end in ranges:
                path = self._mountpaths.chunk_name(chunk.mountpath, chunk.file_id)
                files.append(FileRange(os.open(path, OPEN_FLAGS), offset, end))
            first = files[0]
            if is_cached(first.descriptor, first.offset, min(first.end, first.offset + READY_BYTES)):
                return files
        except (OSError, MountpathUnavailable):
            """Replaced meanwhile, or out of descriptors: `open` looks again, and explains."""
        close_files(files)
        return None

    def page(self, bucket: Bucket, query: ListQuery) -> ListPage:
        """Blocks while it reads: call it in a thread."""
        return list_page(tuple(self._indexes.values()), self._target, bucket, query)

    def record(self, bucket: Bucket, name: str) -> tuple[Record, bytes]:
        """And the bytes of an object that the index holds. Blocks. Raises ObjectNotFound, DataCorrupt, StaleEpoch."""
        record, payload, _ = self.find(bucket, name, with_payload=True)
        return record, payload

    def find(self, bucket: Bucket, name: str, *, with_payload: bool) -> tuple[Record, bytes, str]:
        """The current version's record, the bytes that the index has of it, and where. Blocks.

        Raises ObjectNotFound, DataCorrupt, StaleEpoch, InvalidName and MountpathUnavailable.
        """
        return self._find(bucket, placed(bucket.id, encode_name(name)), with_payload=with_payload)

    def _find(self, bucket: Bucket, name: PlacedName, *, with_payload: bool) -> tuple[Record, bytes, str]:
        key = key_of(bucket.id, name.encoded)
        index = self._indexes.of_hash(name.hashed)
        try:
            with index.look() as transaction:
                index.check_owner_of_look(transaction, name.slot)
                if (value := transaction.get(key, None, index.records)) is None:
                    raise not_found(bucket, name.encoded)
                record, payload = decode_record(key, value), b""
                if with_payload and not record.chunks:
                    payload = bytes(transaction.get(bucket.id + record.version, b"", index.payloads))
                    if not record.is_payload(payload):
                        what = f"the bytes of {bucket.reference}/{name.encoded.decode()}"
                        raise DataCorrupt(f"{what} fail their checksum: run `shoal fsck`")
        except lmdb.Error as error:
            raise explained(error, index.path) from error
        return record, payload, self._locations[index.mountpath_id]

    async def _open_parts(self, record: Record, wanted: ByteRange | None, what: str) -> list[OpenPart]:
        """Of the chunks that the range touches, all before the first byte leaves: an open file outlives its name.

        Raises FileNotFoundError when the version was replaced meanwhile.
        """
        parts: list[OpenPart] = []
        if not record.chunks:
            return parts
        start, length = (wanted.offset, wanted.length) if wanted else (0, record.size)
        try:
            await in_thread(self._open_chunks, record, start, length, parts)
        except FileNotFoundError:
            close_parts(parts)
            raise
        except OSError as error:
            close_parts(parts)
            raise storage_error(error, f"cannot open a chunk file of {what}") from error
        except BaseException:
            close_parts(parts)
            raise
        return parts

    def _open_chunks(self, record: Record, start: int, length: int, parts: list[OpenPart]) -> None:
        """Adds to `parts`, which the caller closes. Blocks."""
        for chunk, offset, end in chunk_ranges(record.chunks, start, length):
            path = chunk_path(self._mountpaths.path(chunk.mountpath), chunk.file_id)
            watching = self._mountpaths.faults.watching(chunk.mountpath)
            with watching:
                reader = ChunkReader(path, blocks_checksum=chunk.blocks_checksum)
            parts.append(OpenPart(reader, chunk.file_id, offset, end, watching))
            if reader.footer.length != chunk.length:
                raise DataCorrupt("a chunk file has another length than its record says: run `shoal fsck`")


def not_found(bucket: Bucket, encoded_name: bytes) -> ObjectNotFound:
    name = encoded_name.decode()
    return ObjectNotFound(
        f"{bucket.reference}/{name} does not exist", bucket=str(bucket.reference), name=name
    )
