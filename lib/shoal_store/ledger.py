"""What an index says of itself, so that a write which its disk lost shows: the number of its last commit, and sums.

LMDB's pages have neither checksums nor numbers: where a disk drops the write of one, the page that was there before is
taken for it, with rows that were sealed once. The number is compared with that of LMDB's own meta page, which is
written apart, and so tells an old page of tables, or of `meta`, where the ledger is. Any other old page shows in the
sums: they follow what was committed, and a walk finds other rows. Later commits change both sides alike, so that the
difference stays until the index is rebuilt.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TypeAlias

from shoal_core.errors import DataCorrupt
from shoal_store.sealed import HEAD_BYTES

Value: TypeAlias = "bytes | memoryview"
KEY = b"ledger"
SUMMED = ("records", "versions", "uploads")
"""Tables whose rows are sealed and name files."""
LAYOUT = struct.Struct(">QQQQ")


class Ledger:
    """As it stands in the table `meta`: XOR of the seals of each table's rows."""

    __slots__ = ("sums", "transaction")

    def __init__(self, transaction: int, sums: Mapping[str, int]) -> None:
        self.transaction = transaction
        """The one that wrote it."""
        self.sums = dict(sums)

    @classmethod
    def of(cls, value: Value | None) -> Ledger:
        """Raises DataCorrupt."""
        if value is None or len(value) != LAYOUT.size:
            raise DataCorrupt("an index without its ledger: run `shoal fsck`")
        transaction, *sums = LAYOUT.unpack(value)
        return cls(transaction, dict(zip(SUMMED, sums, strict=True)))

    def encoded(self, transaction: int) -> bytes:
        return LAYOUT.pack(transaction, *(self.sums[table] for table in SUMMED))

    def replace(self, table: str, old: Value | None, new: Value | None) -> None:
        """A row, or none, by another, or none."""
        if table in self.sums:
            self.sums[table] ^= (seal_of(old) if old else 0) ^ (seal_of(new) if new else 0)


def seal_of(value: Value) -> int:
    """The checksum of a sealed row; of anything else, something."""
    return int.from_bytes(value[1:HEAD_BYTES])
