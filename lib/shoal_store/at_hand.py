"""Items of a batch that this process can read at once: from the indexes of its host's disks and the page cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from shoal_archive.batch import HELD_BYTES_MAX, TO_THE_END, Entry, Item, beyond, range_request
from shoal_archive.formats import ArchiveFormat
from shoal_archive.index import ArchiveIndex, IndexCache, plain
from shoal_core.errors import ObjectNotFound, ShoalError
from shoal_core.objects import BucketId, RangeRequest
from shoal_store.local import LocalObjectStore
from shoal_store.ready import FileRange, ReadyObject, close_files

LocalStore: TypeAlias = Callable[[BucketId, str], LocalObjectStore | None]
"""The disks that hold the object of this name, if this process may read them now."""


class ItemsAtHand:
    """`entry` is `shoal_archive.batch.AtHand`."""

    def __init__(self, local_store: LocalStore, indexes: IndexCache) -> None:
        self._local_store = local_store
        self._indexes = indexes

    def entry(self, item: Item) -> Entry | None:
        """None for what is elsewhere, on disk alone, large, or wrong in any way: who waits can explain it."""
        store = self._local_store(item.bucket.id, item.name)
        if store is None:
            return None
        try:
            return self._member(store, item) if item.member else self._object(store, item)
        except ObjectNotFound as error:
            return Entry.failed(error)
        except (ShoalError, OSError):
            return None

    def _object(self, store: LocalObjectStore, item: Item) -> Entry | None:
        found = store.reader.ready(item.bucket, item.name, range_request(item), with_bytes=True)
        if found is None:
            return None
        size = found.record.size if found.range is None else found.range.length
        if item.length > 0 and size != item.length:
            close_files(found.files)
            return Entry.failed(beyond(item, found.record.size))
        return entry_of(found, size)

    def _member(self, store: LocalObjectStore, item: Item) -> Entry | None:
        index = self._indexes.get(item.bucket.id, item.name)
        place = None if index is None else place_of(index, item)
        if index is None or place is None:
            return None
        found = store.reader.ready(item.bucket, item.name, place, with_bytes=True)
        if found is None:
            return None
        if found.record.version != index.version or found.range is None:
            close_files(found.files)
            return None
        return entry_of(found, found.range.length)


def place_of(index: ArchiveIndex, item: Item) -> RangeRequest | None:
    """Where in the shard the bytes lie, if they lie there as they are."""
    if index.format is not ArchiveFormat.TAR:
        return None
    member = index.by_name.get(item.member) or index.by_name.get(plain(item.member))
    if member is None:
        return None
    length = member.size - item.start if item.length in (0, TO_THE_END) else item.length
    if length <= 0 or item.start + length > member.size:
        return None
    first = member.offset + item.start
    return RangeRequest(first, first + length - 1)


def entry_of(found: ReadyObject, size: int) -> Entry | None:
    if not found.files:
        return Entry(size, found.payload)
    try:
        if size > HELD_BYTES_MAX:
            return None
        data = b"".join([read(file) for file in found.files])
        return Entry(size, data) if len(data) == size else None
    finally:
        with suppress(OSError):
            close_files(found.files)


def read(file: FileRange) -> bytes:
    return os.pread(file.descriptor, file.end - file.offset, file.offset)
