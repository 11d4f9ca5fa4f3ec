"""Items of a batch that this process can read at once: from the indexes of its host's disks and the page cache."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
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
from shoal_core.errors import DataCorrupt, InvalidName, ObjectNotFound, RangeNotSatisfiable, ShoalError
from shoal_store.durability import storage_error
from shoal_store.keys import PlacedName, encode_name, placed
from shoal_store.local import LocalObjectStore
from shoal_store.looks import Looks
from shoal_store.ready import FileRange, close_files, is_cached
from shoal_store.record import Record
from shoal_store.threads import in_thread

LocalStore: TypeAlias = Callable[[PlacedName], LocalObjectStore | None]
"""The disks that hold the object of this name, if this process may read them now."""
LocalStores: TypeAlias = Callable[[], LocalStore]
"""Gives a `LocalStore` for many names, which is right until the next await."""
Part: TypeAlias = tuple[int, int]
"""First byte and number of bytes."""
PIECE_BYTES = 256 << 10
RECORDS_MAX = 4096
"""Kept of a batch between the look whether its objects exist and the one for their bytes; a few hundred bytes each."""
UNKNOWN = None, None
"""Of an item that was not looked at before."""
FAULTS = (ShoalError, OSError, lmdb.Error)
"""For which an item is not at hand, whoever's they are: it is looked for again by those who explain."""


class ItemsAtHand:
    """`batch` is `shoal_archive.batch.AtHand`."""

    def __init__(self, local_stores: LocalStores, indexes: IndexCache) -> None:
        self._local_stores = local_stores
        self._indexes = indexes

    def batch(self, items: Sequence[Item]) -> BatchAtHand:
        return BatchAtHand(items, self._local_stores, self._indexes)


class BatchAtHand:
    """Of one batch. What was learnt of an item is kept until it is taken: its place, and for some the record."""

    def __init__(self, items: Sequence[Item], local_stores: LocalStores, indexes: IndexCache) -> None:
        self._items = items
        self._local_stores = local_stores
        self._indexes = indexes
        self._places: list[PlacedName] = []
        self._records: dict[int, tuple[LocalObjectStore, Record]] = {}

    def entries(self, start: int, stop: int) -> list[Entry]:
        """Up to the first that is elsewhere, on disk alone, or wrong in any way: who waits can explain it."""
        found, size = list[Entry](), 0
        self._place(stop)
        with _Disks(self._local_stores()) as disks:
            for number in range(start, min(stop, len(self._places))):
                if size >= AT_HAND_BYTES or (entry := self._entry(number, disks)) is None:
                    break
                found.append(entry)
                size += entry.size
        return found

    def unknown(self, start: int, stop: int) -> list[int]:
        """Those of which this process cannot tell at once that their objects exist."""
        self._place(stop)
        with _Disks(self._local_stores()) as disks:
            return [number for number in range(start, stop) if not self._is_known(number, disks)]

    def _place(self, stop: int) -> None:
        """Looks at names once, up to the first that is none."""
        places = self._places
        for item in self._items[len(places) : stop]:
            try:
                places.append(placed(item.bucket.id, encode_name(item.name)))
            except InvalidName:
                return

    def _is_known(self, number: int, disks: _Disks) -> bool:
        if number >= len(self._places):
            return False
        item, place = self._items[number], self._places[number]
        try:
            if (found := disks.of(place)) is None:
                return False
            store, looks = found
            record = looks.record(item.bucket, item.name, place)
        except FAULTS:
            return False
        if len(self._records) < RECORDS_MAX:
            self._records[number] = store, record
        return True

    def _entry(self, number: int, disks: _Disks) -> Entry | None:
        item, place = self._items[number], self._places[number]
        known, record = self._records.pop(number, UNKNOWN)
        try:
            if (found := disks.of(place, known)) is None:
                return None
            store, looks = found
            if record is None or store is not known:
                record = looks.record(item.bucket, item.name, place)
            start, size = 0, record.size
            if item.member or item.length:
                part = self._part_of_shard(item, record) if item.member else part_of(item, record.size)
                if part is None:
                    return None
                start, size = part
            if record.chunks:
                entry = self._entry_of_files(store, item, record, start, size, looks)
            elif (payload := looks.payload(item.bucket, record, place)) is not None:
                entry = Entry(size, payload if size == record.size else payload[start : start + size])
            else:
                return None
        except (ObjectNotFound, RangeNotSatisfiable) as error:
            return Entry.failed(error)
        except FAULTS:
            return None
        if entry is not None:
            store.reader.counts.add(size)
        return entry

    def _part_of_shard(self, item: Item, record: Record) -> Part | None:
        """Where the member lies; None when that is not known of this version."""
        index = self._indexes.get(item.bucket.id, item.name)
        if index is None or record.version != index.version or (part := part_of_member(index, item)) is None:
            return None
        return part if part[0] + part[1] <= record.size else None

    def _entry_of_files(
        self, store: LocalObjectStore, item: Item, record: Record, start: int, size: int, looks: Looks
    ) -> Entry | None:
        if not size:
            return Entry(0)
        if size <= HELD_BYTES_MAX:
            data = looks.read(item.bucket, record, start, size)
            return None if data is None else Entry(size, data)
        files = store.reader.ready_files(item.bucket, record, start, size)
        return None if files is None else Entry(size, body=ReadyBody(files))


class _Disks:
    """The looks of one call, of each target whose disks are here."""

    def __init__(self, local_store: LocalStore) -> None:
        self._local_store = local_store
        self._found: dict[LocalObjectStore | None, tuple[LocalObjectStore, Looks]] = {}

    def __enter__(self) -> _Disks:
        return self

    def __exit__(self, *_: object) -> None:
        for _store, looks in self._found.values():
            looks.close()

    def of(
        self, place: PlacedName, known: LocalObjectStore | None = None
    ) -> tuple[LocalObjectStore, Looks] | None:
        """None when they are not here, or while looking is likely to wait for a disk.

        Args:
            known: where this process has seen it in this batch, which another look need not prove.
        """
        found = self._found.get(known) or self._looked_for(place)
        return found if found is not None and found[1].warmth.is_warm else None

    def _looked_for(self, place: PlacedName) -> tuple[LocalObjectStore, Looks] | None:
        store = self._local_store(place)
        if store is None:
            return None
        found = self._found.get(store)
        if found is None:
            found = self._found[store] = store, store.reader.looks()
        return found


def part_of(item: Item, size: int) -> Part:
    """Of an item that wants a range. Raises RangeNotSatisfiable."""
    left = size - item.start
    if left <= 0 or left < item.length:
        raise beyond(item, size)
    return item.start, left if item.length == TO_THE_END else item.length


def part_of_member(index: ArchiveIndex, item: Item) -> Part | None:
    """Where in the shard the bytes lie, if they lie there as they are."""
    if index.format is not ArchiveFormat.TAR:
        return None
    member = index.by_name.get(item.member) or index.by_name.get(plain(item.member))
    if member is None:
        return None
    length = member.size - item.start if item.length in (0, TO_THE_END) else item.length
    if length <= 0 or item.start + length > member.size:
        return None
    return member.offset + item.start, length


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
