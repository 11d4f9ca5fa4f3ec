"""`rechunk`: stored objects written anew in chunks of another size, while their target goes on serving and committing.

Each object's bytes are copied, every block of them verified, into new files; then one commit puts those into the
record, provided that its version is still the one that was copied, and retires the old files as an overwrite does. All
else of the record stays. What has the form already is passed over, so one that was interrupted is simply begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shoal_core.errors import (
    ChecksumMismatch,
    DataCorrupt,
    ObjectNotFound,
    PreconditionFailed,
    StaleEpoch,
    Unavailable,
)
from shoal_core.objects import Bucket, Checksum, Preconditions, PutRequest
from shoal_core.placement import slot_of_encoded
from shoal_store.checking import SHORTAGES, verified_blocks
from shoal_store.chunkfile import chunk_path
from shoal_store.commit import Commit, conditions_of
from shoal_store.engine import Engine
from shoal_store.hashing import ContentHashes
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES, NAME_BYTES_MAX
from shoal_store.record import Record, decode_record
from shoal_store.threads import in_thread
from shoal_store.writer import BodyFiles, Written, chunk_bytes_of
from shoal_store.written_commit import commit_written

BATCH_ROWS = 200
BATCH_BYTES = 64 << 20
"""Of objects, after which a batch ends: what is copied long after it was looked up may have been replaced."""
STEP_BYTES = 4 << 20
"""Of chunk files, after which a step ends."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was done since the step before."""

    rows: int = 0
    """Looked at."""
    objects: int = 0
    """That have the form now."""
    bytes: int = 0
    """Of those objects, and of the one that is being copied."""
    bytes_copied: int = 0
    failure: str = ""
    """Which object was left as it is although nobody has replaced it, and why."""


Tell = Callable[[Step], Awaitable[None]]
"""Hears of each step, and sets the pace by the time that it takes."""


@dataclass(frozen=True, slots=True)
class Row:
    key: bytes
    name: str
    record: Record | DataCorrupt

    @property
    def size(self) -> int:
        return self.record.size if isinstance(self.record, Record) else 0


@dataclass(slots=True)
class Batch:
    rows: list[Row]
    """That are to be rechunked if they have another form."""
    looked_at: int = 0
    last: bytes = b""
    """Key of the last row that was looked at; empty at the end."""


async def rechunk(engine: Engine, bucket: Bucket, prefix: str, tell: Tell) -> None:
    """Gives every object of the bucket under `prefix` the form that the properties of `bucket` ask for.

    Raises BucketNotFound, OutOfSpace, Unavailable and TooBusy; what was done until then stays done.
    """
    for index in engine.indexes.values():
        rechunking = IndexRechunk(engine, index, bucket, tell)
        batch = await in_thread(read_batch, index, bucket, prefix, b"")
        while batch.last:
            for row in batch.rows:
                await rechunking.take(row)
            await tell(Step(rows=batch.looked_at))
            batch = await in_thread(read_batch, index, bucket, prefix, batch.last)


class IndexRechunk:
    """The objects of one index."""

    def __init__(self, engine: Engine, index: Index, bucket: Bucket, tell: Tell) -> None:
        self._engine = engine
        self._index = index
        self._bucket = bucket
        self._tell = tell

    async def take(self, row: Row) -> None:
        if isinstance(row.record, DataCorrupt):
            await self._tell(Step(failure=f"{row.name}: {row.record.message}"))
            return
        chunk_bytes = chunk_bytes_of(self._bucket.properties, row.record.size)
        if has_form(row.record, chunk_bytes):
            await self._tell(Step(objects=1, bytes=row.record.size))
            return
        try:
            await self._replace(row.name, row.record, chunk_bytes)
        except (ObjectNotFound, PreconditionFailed, StaleEpoch):
            return  # overwritten, deleted or moved away meanwhile: whoever did that has had the last word
        except (OSError, DataCorrupt, ChecksumMismatch) as error:
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                raise Unavailable(
                    f"cannot read chunk files now ({error.strerror}): allow more of it"
                ) from error
            # Replaced while we read, or really damaged: a second look at the row tells.
            if await in_thread(self._is_current, row.key, row.record):
                await self._tell(Step(failure=f"{row.name}: {error}"))
            return
        await self._tell(Step(objects=1))

    async def _replace(self, name: str, record: Record, chunk_bytes: int | None) -> None:
        written = await self._copy(name, record, chunk_bytes)
        commit = Commit(
            "rechunk",
            self._bucket.id,
            self._bucket.generation,
            name,
            0,
            self._bucket.properties.versioning,
            written.record,
            conditions=conditions_of(Preconditions(if_version=record.version)),
        )
        await commit_written(self._engine, commit, written)

    async def _copy(self, name: str, record: Record, chunk_bytes: int | None) -> Written:
        """Leaves nothing when it raises."""
        files = self._engine.writer.files(
            self._bucket,
            PutRequest(name, content_type=record.content_type, metadata=record.metadata),
            hashes := hashes_of(record),
            chunk_bytes=chunk_bytes,
        )
        blocks = stored_blocks(record, self._engine.mountpaths.path)
        try:
            while copied := await in_thread(copy_some, blocks, files):
                await self._tell(Step(bytes=copied, bytes_copied=copied))
            hashes.check()
            unplaced = msgspec.structs.replace(record, chunks=(), upload="", linked=False)
            return await in_thread(files.finish_as, unplaced)
        except (Exception, asyncio.CancelledError):
            await in_thread(files.abort)
            raise
        finally:
            blocks.close()

    def _is_current(self, key: bytes, record: Record) -> bool:
        with self._index.read() as transaction:
            value = transaction.get(key, db=self._index.records)
            return value is not None and decode_record(key, value).chunks == record.chunks


def read_batch(index: Index, bucket: Bucket, prefix: str, after: bytes) -> Batch:
    """What follows the key `after`. Blocks."""
    batch, size = Batch([]), 0
    shared = bucket.id + prefix.encode()[:NAME_BYTES_MAX]
    with index.read() as transaction, transaction.cursor(db=index.records) as cursor:
        owned = index.owned(transaction)
        more = cursor.set_range(after + b"\0" if after else shared)
        while more and batch.looked_at < BATCH_ROWS and size < BATCH_BYTES:
            if not (key := bytes(cursor.key())).startswith(shared):
                break
            row = row_of(key, cursor.value())
            if row.name.startswith(prefix) and owned.holds(slot_of_encoded(bucket.id, row.name.encode())):
                batch.rows.append(row)
                size += row.size
            batch.looked_at, batch.last = batch.looked_at + 1, key
            more = cursor.next()
    return batch


def row_of(key: bytes, value: bytes | memoryview) -> Row:
    shown = key[BUCKET_ID_BYTES:].decode(errors="replace")
    try:
        record = decode_record(key, value)
    except DataCorrupt as error:
        return Row(key, shown, error)
    return Row(key, record.name or shown, record)


def has_form(record: Record, chunk_bytes: int | None) -> bool:
    """Whether it is stored as one that came today would be; what fits into the index always is."""
    lengths = lengths_of(record.size, chunk_bytes)
    same = [chunk.length for chunk in record.chunks] == lengths
    return record.inline or (same and record.is_chunked == (len(lengths) > 1))


def lengths_of(size: int, chunk_bytes: int | None) -> list[int]:
    """Of the chunks of an object."""
    if chunk_bytes is None or size <= chunk_bytes:
        return [size]
    whole, rest = divmod(size, chunk_bytes)
    return [chunk_bytes] * whole + [rest] * (rest > 0)


def hashes_of(record: Record) -> ContentHashes:
    """That check the copy against the checksum which its clients see, if it has one."""
    promised = (Checksum(record.checksum_type, record.checksum_value),) if record.checksum_value else ()
    return ContentHashes("none", promised)


def stored_blocks(record: Record, mountpath: Callable[[str], Path]) -> Generator[bytes]:
    """One file open at a time. Raises OSError, DataCorrupt."""
    for chunk in record.chunks:
        yield from verified_blocks(chunk_path(mountpath(chunk.mountpath), chunk.file_id), chunk)


def copy_some(blocks: Iterator[bytes], files: BodyFiles) -> int:
    """Bytes copied; 0 at the end. Blocks."""
    copied = 0
    while copied < STEP_BYTES and (block := next(blocks, b"")):
        files.write([block])
        copied += len(block)
    return copied
