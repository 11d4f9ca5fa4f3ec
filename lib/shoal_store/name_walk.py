"""The names of a bucket in one index, in order: a batch of rows at a time, since steps one by one cost thrice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

import lmdb
import numpy
import xxhash
from numpy.typing import NDArray

from shoal_core.objects import Bucket, BucketId, ListQuery
from shoal_core.placement import slot_of_encoded
from shoal_store.damaged_records import decode_listed
from shoal_store.folding import after_prefix, common_prefix
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES, NAME_BYTES_MAX, group_of, is_hashed
from shoal_store.listed import Row
from shoal_store.longnames import first_names
from shoal_store.slots import EPOCH_BYTES, OwnedSlots

GROUPED_KEY_BYTES = BUCKET_ID_BYTES + NAME_BYTES_MAX
"""Keys of this length and more stand for names that may share their first bytes with others."""
GROUP_NAMES = 1000
"""Held of a group at a time. As many as a page usually has: a page then takes one pass."""
FOLDED_ROWS = 4
"""Read behind a common prefix, where the next one may be just as large; twice as many with each further batch."""


class NameWalk:
    """Rows from wherever `seek` puts it. Of names that the query folds into one prefix it may leave out all but the
    first: whoever wants more of them seeks behind the prefix."""

    def __init__(
        self,
        index: Index,
        transaction: lmdb.Transaction[bytes],
        bucket: Bucket,
        query: ListQuery,
        location: str,
    ) -> None:
        self.location = location
        self.rows: list[Row] = []
        """Read and not yet taken, in order."""
        self.ended = False
        """Nothing comes behind `rows`."""
        self._bucket = bucket
        self._prefix = query.prefix.encode()
        self._delimiter = query.delimiter.encode()
        self._shared = bucket.id + self._prefix[:NAME_BYTES_MAX]
        self._owned = index.owned(transaction)
        self._owns_all = self._owned.all
        self._cursor = transaction.cursor(db=index.records)
        self._start = b""
        self._batch_rows = self._least = FOLDED_ROWS if query.delimiter else 0

    def close(self) -> None:
        self._cursor.close()

    def seek(self, start: bytes) -> None:
        """Go on with the first name that is `start` or later. Never backwards."""
        del self.rows[: bisect_left(self.rows, (self._bucket.id + start,))]
        if not self.rows and start > self._start:
            self._start = start
            self._batch_rows = self._least

    def fill(self, wanted: int) -> None:
        """Have at least one row, if there is any; about `wanted`, if that many follow."""
        while not self.rows and not self.ended:
            self._batch_rows = min(2 * self._batch_rows, wanted) or wanted
            self.rows = self._ours(self._read(self._batch_rows))

    def take(self, last: Row | None) -> list[Row]:
        """All rows up to this one; without one, all that were read."""
        cut = len(self.rows) if last is None else bisect_right(self.rows, last)
        taken, self.rows = self.rows[:cut], self.rows[cut:]
        return taken

    def _read(self, count: int) -> list[Row]:
        """Up to `count` rows that have the prefix, ours or not; fewer before a group, and of a group all at once."""
        if not self._cursor.set_range(self._bucket.id + self._start[:NAME_BYTES_MAX]):
            self.ended = True
            return []
        rows: list[Row] = list(islice(self._cursor.iternext(), count))
        self.ended = len(rows) < count
        if not rows[-1][0].startswith(self._shared):
            self.ended = True
            del rows[bisect_left(rows, True, key=lambda row: not row[0].startswith(self._shared)) :]
        if not rows:
            return []
        if max([len(key) for key, _ in rows]) >= GROUPED_KEY_BYTES:
            return self._read_to_group(rows)
        self._start = rows[-1][0][BUCKET_ID_BYTES:] + b"\0"
        return rows

    def _read_to_group(self, rows: list[Row]) -> list[Row]:
        """Up to the group, unless it comes first, then a batch of it."""
        self.ended = False
        first = next(number for number, row in enumerate(rows) if len(row[0]) >= GROUPED_KEY_BYTES)
        group = group_of(rows[first][0])
        if not first:
            return self._read_group(group)
        self._start = group[BUCKET_ID_BYTES:]
        return rows[:first]

    def _read_group(self, group: bytes) -> list[Row]:
        names = self._names_of(group)
        if self._folded(group[BUCKET_ID_BYTES:]):
            names = islice(names, 1)  # all are folded into one prefix, for which any of them can stand
        found, whole = first_names(names, folded=self._folded, limit=GROUP_NAMES)
        if whole:
            self._start = after_prefix(group)[BUCKET_ID_BYTES:]
        else:
            last = found[-1][0]
            common = self._folded(last)
            self._start = after_prefix(common) if common else last + b"\0"
        return [(self._bucket.id + name, value) for name, value in found]

    def _names_of(self, group: bytes) -> Iterator[tuple[bytes, bytes]]:
        """In no order, with their sealed records."""
        self._cursor.set_range(group)
        for key, value in self._cursor.iternext():
            if not key.startswith(group):
                return
            name = decode_listed(key, value).name.encode() if is_hashed(key) else key[BUCKET_ID_BYTES:]
            if name >= self._start and name.startswith(self._prefix) and self._is_ours(name):
                yield name, value

    def _folded(self, name: bytes) -> bytes:
        return common_prefix(name, self._prefix, delimiter=self._delimiter)

    def _is_ours(self, name: bytes) -> bool:
        return self._owns_all or self._owned.holds(slot_of_encoded(self._bucket.id, name))

    def _ours(self, rows: list[Row]) -> list[Row]:
        if self._owns_all or not rows:
            return rows
        ours = held(self._owned, self._bucket.id, rows)
        return rows if ours.all() else [rows[number] for number in ours.nonzero()[0]]


def held(owned: OwnedSlots, bucket_id: BucketId, rows: list[Row]) -> NDArray[numpy.bool_]:
    """Which rows lie in slots that are owned; `slot_of_encoded` and `holds` for all at once."""
    digest, before = xxhash.xxh3_64_digest, bucket_id + b"\0"
    digests = b"".join([digest(before + key[BUCKET_ID_BYTES:]) for key, _ in rows])
    slots = numpy.frombuffer(digests, ">u2")[::4]
    bits = numpy.frombuffer(owned.encoded, numpy.uint8, offset=EPOCH_BYTES)[slots >> 3] >> (slots & 7)
    ours: NDArray[numpy.bool_] = (bits & 1).astype(numpy.bool_)
    return ours
