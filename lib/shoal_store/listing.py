"""Pages of names: a merge of the cursors of all indexes of a target, never touching payloads."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import lmdb

from shoal_core.objects import Bucket, ListPage, ListQuery, ObjectInfo
from shoal_core.placement import slot_of
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES, NAME_BYTES_MAX, group_of, is_hashed
from shoal_store.record import Record, decode_record


def list_page(indexes: Sequence[Index], target: str, bucket: Bucket, query: ListQuery) -> ListPage:
    """Blocks while it reads: call it in a thread."""
    walks = [NameWalk(index, bucket, query, f"t[{target}]:{index.mountpath_id}") for index in indexes]
    return merge_page(walks, query)


def merge_page(walks: Sequence[NameWalk], query: ListQuery) -> ListPage:
    prefix, delimiter = query.prefix.encode(), query.delimiter.encode()
    entries: list[ObjectInfo] = []
    prefixes: list[str] = []
    last = ""
    heap: list[tuple[bytes, int, ObjectInfo]] = []
    start = max(query.start_after.encode() + b"\0", prefix) if query.start_after else prefix
    if delimiter and query.start_after.encode().startswith(prefix):
        cut = query.start_after.encode().find(delimiter, len(prefix))
        if cut >= 0 and cut + len(delimiter) == len(query.start_after.encode()):
            start = after_prefix(query.start_after.encode())
    try:
        for number, walk in enumerate(walks):
            push(heap, number, walk.seek(start))
        while heap and len(entries) + len(prefixes) < query.limit:
            name, number, info = heap[0]
            if delimiter and (cut := name.find(delimiter, len(prefix))) >= 0:
                common = name[: cut + len(delimiter)]
                prefixes.append(last := common.decode())
                heap = []
                for other, walk in enumerate(walks):
                    push(heap, other, walk.seek(after_prefix(common)))
                continue
            heapq.heappop(heap)
            entries.append(info)
            last = info.name
            push(heap, number, walks[number].following())
    finally:
        for walk in walks:
            walk.close()
    return ListPage(tuple(entries), tuple(prefixes), last if heap else "")


class NameWalk:
    """The names of a bucket in one index, in order, from wherever `seek` puts it."""

    def __init__(self, index: Index, bucket: Bucket, query: ListQuery, location: str) -> None:
        self._index = index
        self._bucket = bucket
        self._prefix = query.prefix.encode()
        self._location = location
        self._reading = index.read()
        self._transaction: lmdb.Transaction = self._reading.__enter__()
        self._owned = index.owned(self._transaction)
        self._cursor = self._transaction.cursor(db=index.records)
        self._names: Iterator[tuple[bytes, ObjectInfo]] = iter(())

    def seek(self, start: bytes) -> tuple[bytes, ObjectInfo] | None:
        """The first name that is `start` or later, if it still has the prefix."""
        self._names = self._walk(start)
        return self.following()

    def following(self) -> tuple[bytes, ObjectInfo] | None:
        return next(self._names, None)

    def close(self) -> None:
        self._cursor.close()
        self._reading.__exit__(None, None, None)

    def _walk(self, start: bytes) -> Iterator[tuple[bytes, ObjectInfo]]:
        more = self._cursor.set_range(self._bucket.id + start[:NAME_BYTES_MAX])
        while more:
            key = bytes(self._cursor.key())
            if key[:BUCKET_ID_BYTES] != self._bucket.id:
                return
            group = [self._entry(key)]
            more = self._cursor.next()
            if len(key) >= BUCKET_ID_BYTES + NAME_BYTES_MAX:
                while more and group_of(following := bytes(self._cursor.key())) == group_of(key):
                    group.append(self._entry(following))
                    more = self._cursor.next()
                group.sort(key=lambda entry: entry[0])
            for name, record in group:
                if name >= start and name.startswith(self._prefix):
                    text = name.decode()
                    if self._owned.holds(slot_of(self._bucket.id, text)):
                        yield name, record.info(text, self._location)
                elif name > start and not name.startswith(self._prefix) and name > self._prefix:
                    return

    def _entry(self, key: bytes) -> tuple[bytes, Record]:
        record = decode_record(key, self._cursor.value())
        return (record.name.encode() if is_hashed(key) else key[BUCKET_ID_BYTES:]), record


def push(
    heap: list[tuple[bytes, int, ObjectInfo]], number: int, entry: tuple[bytes, ObjectInfo] | None
) -> None:
    if entry is not None:
        heapq.heappush(heap, (entry[0], number, entry[1]))


def after_prefix(prefix: bytes) -> bytes:
    """The first byte string behind everything that starts with `prefix`; UTF-8 has no byte 255."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
