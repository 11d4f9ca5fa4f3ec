"""`summary`: what a bucket holds in the indexes of this target, counted from the rows alone, a short look at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from shoal_core.errors import DataCorrupt
from shoal_core.objects import BucketId
from shoal_core.placement import slot_of_encoded
from shoal_core.usage import BucketUsage
from shoal_store.index import Index, Table
from shoal_store.keys import BUCKET_ID_BYTES, NAME_BYTES_MAX
from shoal_store.record import Record, decode_record

BATCH_ROWS = 1000


@dataclass(slots=True)
class SummaryBatch:
    rows: int = 0
    """Looked at."""
    last: bytes = b""
    """Key of the last of them; empty at the end of the table."""
    bytes_on_disk: int = 0
    sizes: list[int] = field(default_factory=list)
    """Of objects, in bytes."""

    @property
    def usage(self) -> BucketUsage:
        sizes = self.sizes
        return BucketUsage(
            len(sizes), sum(sizes), self.bytes_on_disk, min(sizes, default=0), max(sizes, default=0)
        )


def summary_batch(index: Index, table: Table, bucket_id: BucketId, prefix: str, after: bytes) -> SummaryBatch:
    """What follows the key `after` in `records` or `versions`. Blocks.

    Rows that cannot be read are passed over: `shoal fsck` and scrubs tell of them.
    """
    batch = SummaryBatch()
    shared = bucket_id + prefix.encode()[:NAME_BYTES_MAX]
    with index.read() as transaction, transaction.cursor(db=table) as cursor:
        owned = index.owned(transaction)
        more = cursor.set_range(after + b"\0" if after else shared)
        while more and batch.rows < BATCH_ROWS and (key := bytes(cursor.key())).startswith(shared):
            batch.rows, batch.last = batch.rows + 1, key
            value = cursor.value()
            try:
                record = decode_record(key, value)
            except DataCorrupt:
                more = cursor.next()
                continue
            name = record.name.encode() or key[BUCKET_ID_BYTES:].partition(b"\0")[0]
            if name.startswith(prefix.encode()) and owned.holds(slot_of_encoded(bucket_id, name)):
                batch.bytes_on_disk += len(key) + len(value) + stored_bytes(record)
                if table is index.records:
                    batch.sizes.append(record.size)
            more = cursor.next()
    return batch


def stored_bytes(record: Record) -> int:
    """Of the content, without the footers of chunk files."""
    return 0 if record.delete_marker else record.size
