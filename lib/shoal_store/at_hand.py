"""Items of a batch that this process can read at once: from the indexes of its host's disks and the page cache."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import TypeAlias

import lmdb

from shoal_archive.batch import (
    AT_HAND_BYTES,
    HELD_BYTES_MAX,
    TO_THE_END,
    Entry,
    Item,
    beyond,
)
from shoal_archive.formats import ArchiveFormat
from shoal_archive.index import ArchiveIndex, IndexCache, plain
from shoal_core.errors import DataCorrupt, ObjectNotFound, ShoalError
from shoal_core.objects import ByteRange
from shoal_store.durability import storage_error
from shoal_store.keys import PlacedName, encode_name, placed
from shoal_store.local import LocalObjectStore
from shoal_store.looks import Looks
from shoal_store.ready import FileRange, close_files, is_cached
from shoal_store.record import Record
from shoal_store.threads import in_thread

LocalStore: TypeAlias = Callable[[PlacedName], LocalObjectStore | None]
"""The disks that hold the object of this name, if this process may read them now."""
PIECE_BYTES = 256 << 10
FAULTS = (ShoalError, OSError, lmdb.Error)
"""For which an item is not at hand, whoever's they are: it is looked for again by those who explain."""


class ItemsAtHand:
    """`entries` is `shoal_archive.batch.AtHand`."""

    def __init__(self, local_store: LocalStore, indexes: IndexCache) -> None:
        self._local_store = local_store
        self._indexes = indexes

    def entries(self, items: Sequence[Item]) -> list[Entry]:
        """Up to the first that is elsewhere, on disk alone, or wrong in any way: who waits can explain it."""
        found, size = list[Entry](), 0
        with _Disks(self._local_store) as disks:
            for item in items:
                if size >= AT_HAND_BYTES or (entry := self._entry(item, disks)) is None:
                    break
                found.append(entry)
                size += entry.size
        return found

    def unknown(self, items: Sequence[Item]) -> list[Item]:
        """Those of which this process cannot tell at once that their objects exist."""
        with _Disks(self._local_store) as disks:
            return [item for item in items if not disks.holds(item)]

    def _entry(self, item: Item, disks: _Disks) -> Entry | None:
        try:
            place = placed(item.bucket.id, encode_name(item.name))
            store = self._local_store(place)
            if store is None or (looks := disks.looks(store)) is None:
                return None
            read = self._member if item.member else self._object
            return read(store, item, place, looks)
        except ObjectNotFound as error:
            return Entry.failed(error)
        except FAULTS:
            return None

    def _object(self, store: LocalObjectStore, item: Item, name: PlacedName, looks: Looks) -> Entry | None:
        record, payload = looks.find(item.bucket, item.name, name)
        start, size = 0, record.size
        if item.length:
            start, size = item.start, record.size - item.start
            if size <= 0 or size < item.length:
                return Entry.failed(beyond(item, record.size))
            size = size if item.length == TO_THE_END else item.length
        if not record.chunks:
            return Entry(size, payload[start : start + size] if item.length else payload)
        return entry_of(store, item, record, start, size, looks)

    def _member(self, store: LocalObjectStore, item: Item, name: PlacedName, looks: Looks) -> Entry | None:
        index = self._indexes.get(item.bucket.id, item.name)
        place = None if index is None else place_of(index, item)
        if index is None or place is None:
            return None
        record, payload = looks.find(item.bucket, item.name, name)
        if record.version != index.version or place.offset + place.length > record.size:
            return None
        if not record.chunks:
            return Entry(place.length, payload[place.offset : place.offset + place.length])
        return entry_of(store, item, record, place.offset, place.length, looks)


class _Disks:
    """The looks of one call, of each target whose disks are here."""

    def __init__(self, local_store: LocalStore) -> None:
        self._local_store = local_store
        self._open = ExitStack()
        self._looks: dict[LocalObjectStore, Looks] = {}

    def __enter__(self) -> _Disks:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def looks(self, store: LocalObjectStore) -> Looks | None:
        """None while looking is likely to wait for a disk."""
        looks = self._looks.get(store)
        if looks is None:
            looks = self._looks[store] = self._open.enter_context(store.reader.looks())
        return looks if looks.is_warm else None

    def holds(self, item: Item) -> bool:
        try:
            place = placed(item.bucket.id, encode_name(item.name))
            store = self._local_store(place)
            looks = None if store is None else self.looks(store)
            return looks is not None and looks.holds(item.bucket, place)
        except FAULTS:
            return False


def place_of(index: ArchiveIndex, item: Item) -> ByteRange | None:
    """Where in the shard the bytes lie, if they lie there as they are."""
    if index.format is not ArchiveFormat.TAR:
        return None
    member = index.by_name.get(item.member) or index.by_name.get(plain(item.member))
    if member is None:
        return None
    length = member.size - item.start if item.length in (0, TO_THE_END) else item.length
    if length <= 0 or item.start + length > member.size:
        return None
    return ByteRange(member.offset + item.start, length)


def entry_of(
    store: LocalObjectStore, item: Item, record: Record, start: int, size: int, looks: Looks
) -> Entry | None:
    """Of bytes in chunk files."""
    if not size:
        return Entry(0)
    if size <= HELD_BYTES_MAX:
        data = looks.read(item.bucket, record, start, size)
        return None if data is None else Entry(size, data)
    if item.bucket.properties.verify == "always":
        return None
    files = store.reader.ready_files(record, start, size)
    return None if files is None else Entry(size, body=ReadyBody(files))


class ReadyBody:
    """A large item whose blocks are verified: read in pieces, on the loop while they are in memory."""

    def __init__(self, files: Sequence[FileRange]) -> None:
        self._files = files

    async def chunks(self) -> AsyncIterator[bytes]:
        for file in self._files:
            while file.offset < file.end:
                end = min(file.end, file.offset + PIECE_BYTES)
                try:
                    if is_cached(file.descriptor, file.offset, end):
                        data = os.pread(file.descriptor, end - file.offset, file.offset)
                    else:
                        data = await in_thread(os.pread, file.descriptor, end - file.offset, file.offset)
                except OSError as error:
                    raise storage_error(error, "cannot read a chunk file") from error
                if not data:
                    raise DataCorrupt("a chunk file is shorter than its record says: run `shoal fsck`")
                file.offset += len(data)
                yield data

    async def close(self) -> None:
        files, self._files = self._files, ()
        close_files(files)
