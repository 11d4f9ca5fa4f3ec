"""Pages of names: a merge of the cursors of all indexes of a target, never touching payloads."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice

import lmdb

from shoal_core.errors import InvalidArgument
from shoal_core.objects import Bucket, ListPage, ListQuery, ObjectInfo
from shoal_core.placement import slot_of_encoded
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES, NAME_BYTES_MAX, group_of, is_hashed
from shoal_store.longnames import BATCH_NAMES, Batch, Named, first_names
from shoal_store.record import decode_record

GROUPED_KEY_BYTES = BUCKET_ID_BYTES + NAME_BYTES_MAX
"""Keys of this length and more stand for names that may share their first bytes with others."""


def list_page(indexes: Sequence[Index], target: str, bucket: Bucket, query: ListQuery) -> ListPage:
    """Blocks while it reads: call it in a thread."""
    check_query(query)
    with ExitStack() as stack:
        walks = []
        for index in indexes:
            transaction = stack.enter_context(index.read())
            walks.append(NameWalk(index, transaction, bucket, query, f"t[{target}]:{index.mountpath_id}"))
            stack.callback(walks[-1].close)
        return merge_page(walks, query)


def check_query(query: ListQuery) -> None:
    if query.limit < 1:
        raise InvalidArgument(f"a page of {query.limit} names cannot be listed: ask for 1 or more")
    try:
        f"{query.prefix}{query.delimiter}{query.start_after}".encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("prefix, delimiter and start of a listing must be valid UTF-8") from error


def merge_page(walks: Sequence[NameWalk], query: ListQuery) -> ListPage:
    prefix, delimiter = query.prefix.encode(), query.delimiter.encode()
    entries: list[ObjectInfo] = []
    prefixes: list[str] = []
    last = ""
    heap = seek_all(walks, first_wanted(query))
    while heap and len(entries) + len(prefixes) < query.limit:
        name, number, info = heap[0]
        if common := common_prefix(name, prefix, delimiter=delimiter):
            prefixes.append(last := common.decode())
            heap = seek_all(walks, after_prefix(common))
            continue
        heapq.heappop(heap)
        entries.append(info)
        last = info.name
        push(heap, number, walks[number].following())
    return ListPage(tuple(entries), tuple(prefixes), last if heap else "")


def first_wanted(query: ListQuery) -> bytes:
    """Names before this are not of the page. A common prefix that `start_after` itself falls under is not after it."""
    prefix, after = query.prefix.encode(), query.start_after.encode()
    if not after:
        return prefix
    if after.startswith(prefix) and (
        common := common_prefix(after, prefix, delimiter=query.delimiter.encode())
    ):
        return after_prefix(common)
    return max(prefix, after + b"\0")


def common_prefix(name: bytes, prefix: bytes, *, delimiter: bytes) -> bytes:
    """What a name is folded to: up to the first delimiter behind the prefix. Empty when it is shown itself."""
    cut = name.find(delimiter, len(prefix)) if delimiter else -1
    return name[: cut + len(delimiter)] if cut >= 0 else b""


class NameWalk:
    """The names of a bucket in one index, in order, from wherever `seek` puts it."""

    def __init__(
        self, index: Index, transaction: lmdb.Transaction, bucket: Bucket, query: ListQuery, location: str
    ) -> None:
        self._bucket = bucket
        self._prefix = query.prefix.encode()
        self._delimiter = query.delimiter.encode()
        self._batch: Batch | None = None
        self._location = location
        self._owned = index.owned(transaction)
        self._owns_all = self._owned.all
        self._cursor = transaction.cursor(db=index.records)
        self._names: Iterator[tuple[bytes, ObjectInfo]] = iter(())

    def seek(self, start: bytes) -> tuple[bytes, ObjectInfo] | None:
        """The first name that is `start` or later, if it still has the prefix."""
        self._names = self._walk(start)
        return self.following()

    def following(self) -> tuple[bytes, ObjectInfo] | None:
        return next(self._names, None)

    def close(self) -> None:
        self._cursor.close()

    def _walk(self, start: bytes) -> Iterator[tuple[bytes, ObjectInfo]]:
        for name, record in self._from(start):
            if name.startswith(self._prefix):
                if name >= start and self._is_ours(name):
                    yield name, record.info(name.decode(), self._location)
            elif name > self._prefix:
                return

    def _is_ours(self, name: bytes) -> bool:
        return self._owns_all or self._owned.holds(slot_of_encoded(self._bucket.id, name))

    def _from(self, start: bytes) -> Iterator[Named]:
        """Names of the bucket in order. Behind one that is folded comes no other of its common prefix for certain:
        whoever wants more seeks behind the prefix."""
        key = self._bucket.id + start[:NAME_BYTES_MAX]
        while group := (yield from self._up_to_group(key)):
            shared = group[BUCKET_ID_BYTES:]
            if not (shared.startswith(self._prefix) or self._prefix.startswith(shared)):
                return
            yield from self._of_group(group, start)
            key = after_prefix(group)

    def _up_to_group(self, key: bytes) -> Generator[Named, None, bytes]:
        """The names that their keys hold, from `key` up to the next group of others, which it returns."""
        if self._cursor.set_range(key):
            for found, value in self._cursor.iternext():
                key = bytes(found)
                if not key.startswith(self._bucket.id):
                    break
                if len(key) >= GROUPED_KEY_BYTES:
                    return group_of(key)
                yield key[BUCKET_ID_BYTES:], decode_record(key, value)
        return b""

    def _of_group(self, group: bytes, start: bytes) -> Iterator[Named]:
        while True:
            batch = self._batch
            if batch is None or not batch.covers(group, start):
                self._batch = batch = self._read_batch(group, start)
            yield from batch.following(start)
            if batch.whole:
                return
            last = batch.names[-1][0]
            common = self._folded(last)
            start = after_prefix(common) if common else last + b"\0"

    def _read_batch(self, group: bytes, start: bytes) -> Batch:
        names: Iterator[Named] = self._names_of(group, start)
        if self._folded(group[BUCKET_ID_BYTES:]):
            names = islice(names, 1)  # all are folded into one prefix, for which any of them can stand
        found, whole = first_names(names, folded=self._folded, limit=BATCH_NAMES)
        return Batch(group, start, found, whole)

    def _names_of(self, group: bytes, start: bytes) -> Iterator[Named]:
        """In no order."""
        if not self._cursor.set_range(group):
            return
        for found, value in self._cursor.iternext():
            key = bytes(found)
            if not key.startswith(group):
                return
            record = decode_record(key, value)
            name = record.name.encode() if is_hashed(key) else key[BUCKET_ID_BYTES:]
            if name >= start and name.startswith(self._prefix) and self._is_ours(name):
                yield name, record

    def _folded(self, name: bytes) -> bytes:
        return common_prefix(name, self._prefix, delimiter=self._delimiter)


def seek_all(walks: Sequence[NameWalk], start: bytes) -> list[tuple[bytes, int, ObjectInfo]]:
    heap: list[tuple[bytes, int, ObjectInfo]] = []
    for number, walk in enumerate(walks):
        push(heap, number, walk.seek(start))
    return heap


def push(
    heap: list[tuple[bytes, int, ObjectInfo]], number: int, entry: tuple[bytes, ObjectInfo] | None
) -> None:
    if entry is not None:
        heapq.heappush(heap, (entry[0], number, entry[1]))


def after_prefix(prefix: bytes) -> bytes:
    """The first byte string behind everything that starts with `prefix`; UTF-8 has no byte 255."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
