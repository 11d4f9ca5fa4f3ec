"""Removing everything of a bucket that is gone, batch by batch; interrupted, it is simply begun again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lmdb

from shoal_core.errors import DataCorrupt, OutOfSpace
from shoal_core.objects import BucketId
from shoal_store.index import Index, Table
from shoal_store.manifest import files_of
from shoal_store.mountpaths import Mountpaths
from shoal_store.record import Record, decode_record
from shoal_store.reserve import Reserve
from shoal_store.uploads import Part, decode_part, is_part
from shoal_store.uploads_commit import part_files

BATCH_OBJECTS = 1000
BATCH_OBJECTS_FULL = 16
"""On a full disk: each batch leaves free pages for the next."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What one batch removed; the last one of an index removed nothing."""

    objects: int = 0
    bytes: int = 0
    """Of objects and of parts."""
    uploads: int = 0
    """Uploads and their parts."""

    @property
    def nothing(self) -> bool:
        return not self.objects and not self.uploads


def purge_some(index: Index, mountpaths: Mountpaths, bucket_id: BucketId) -> Purged:
    """A batch; on a full disk, a small one and at the cost of the reserve. Blocks. Raises OutOfSpace."""
    batch, reserve = BATCH_OBJECTS, Reserve(index.path)
    while True:
        try:
            return purge_batch(index, mountpaths, bucket_id, batch=batch)
        except OutOfSpace:
            if batch == BATCH_OBJECTS:
                batch = BATCH_OBJECTS_FULL
            elif not reserve.give():
                raise


def purge_batch(
    index: Index, mountpaths: Mountpaths, bucket_id: BucketId, *, batch: int = BATCH_OBJECTS
) -> Purged:
    """One synced transaction, then the files. Blocks. For the target alone, once the bucket is gone."""
    files: list[Path] = []
    objects = size = uploads = 0
    with index.write() as transaction:
        for table in ("records", "versions"):
            rows = first_of_bucket(transaction, getattr(index, table), bucket_id, batch - objects)
            for key, record in rows:
                index.delete_row(transaction, table, key=key)
                objects += 1
                if record is None:
                    continue
                size += record.size
                files += files_of(record, mountpaths.path)
                if record.inline:
                    transaction.delete(bucket_id + record.version, db=index.payloads)
        for key, part in first_uploads(transaction, index, bucket_id, batch - objects):
            index.delete_row(transaction, "uploads", key=key)
            uploads += 1
            if part is not None:
                size += part.size
                files += part_files(part, mountpaths.path)
    for path in files:
        # What cannot be removed is an orphan for `shoal fsck`; the rest goes on.
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return Purged(objects, size, uploads)


def first_of_bucket(
    transaction: lmdb.Transaction, table: Table, bucket_id: BucketId, count: int
) -> list[tuple[bytes, Record | None]]:
    """None for a record that is damaged: it goes as well, its files stay as orphans for `shoal fsck`."""
    found: list[tuple[bytes, Record | None]] = []
    for key, value in first_rows(transaction, table, bucket_id, count):
        try:
            found.append((key, decode_record(key, value)))
        except DataCorrupt:
            found.append((key, None))
    return found


def first_uploads(
    transaction: lmdb.Transaction, index: Index, bucket_id: BucketId, count: int
) -> list[tuple[bytes, Part | None]]:
    """None for an upload itself, which has no files, and for a part that is damaged."""
    found: list[tuple[bytes, Part | None]] = []
    for key, value in first_rows(transaction, index.uploads, bucket_id, count):
        try:
            found.append((key, decode_part(key, value) if is_part(key) else None))
        except DataCorrupt:
            found.append((key, None))
    return found


def first_rows(
    transaction: lmdb.Transaction, table: Table, bucket_id: BucketId, count: int
) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    with transaction.cursor(db=table) as cursor:
        more = cursor.set_range(bucket_id)
        while more and len(found) < count and (key := bytes(cursor.key())).startswith(bucket_id):
            found.append((key, bytes(cursor.value())))
            more = cursor.next()
    return found
