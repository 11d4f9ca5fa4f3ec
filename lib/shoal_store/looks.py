"""Many looks for the objects of a batch, one after the other: one transaction of each index, each file opened once.

As `StoreReader.ready`, everything is verified and nothing is waited for; what is not at hand is left to who waits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import lmdb

from shoal_core.errors import MountpathUnavailable, ObjectNotFound
from shoal_core.objects import BodyBytes, Bucket
from shoal_store.durability import close_read
from shoal_store.index import Index, Reading
from shoal_store.keys import PlacedName, key_of
from shoal_store.mountpaths import Mountpaths
from shoal_store.ready import OPEN_FLAGS, cached_bytes, chunk_ranges
from shoal_store.record import ChunkPlace, Record, decode_record
from shoal_store.warmth import Warmth
from shoal_store.window import VerifiedWindow


class Looks:
    """Of one target's disks. Closed after a short while: never hold it across an await."""

    def __init__(
        self, mountpaths: Mountpaths, indexes: Mapping[str, Index], window: VerifiedWindow, warmth: Warmth
    ) -> None:
        self._mountpaths = mountpaths
        self._indexes = indexes
        self._window = window
        self.warmth = warmth
        """Says whether the next look is likely to wait for a disk."""
        self._views: dict[str, _View] = {}
        self._known: dict[bytes, Record] = {}
        self._descriptors: dict[bytes, int] = {}

    def close(self) -> None:
        for view in self._views.values():
            view.reading.__exit__(None, None, None)
        for descriptor in self._descriptors.values():
            close_read(descriptor)

    def record(self, bucket: Bucket, name: str, place: PlacedName) -> Record:
        """The current version. Raises ObjectNotFound, DataCorrupt, StaleEpoch and MountpathUnavailable."""
        view, key = self._view(place), key_of(bucket.id, place.encoded)
        if self._known and (known := self._known.get(key)) is not None:
            return known
        value = view.transaction.get(key, None, view.records)
        self.warmth.looked()
        if value is None:
            raise ObjectNotFound(
                f"{bucket.reference}/{name} does not exist", bucket=str(bucket.reference), name=name
            )
        record = decode_record(key, value)
        if record.chunks:
            self._known[key] = record
        return record

    def payload(self, bucket: Bucket, record: Record, place: PlacedName) -> bytes | None:
        """The bytes of a version that the index holds; None when it holds other ones, or none any more."""
        view = self._view(place)
        # By position: names of arguments cost LMDB's package as much as the look itself. Bytes, as the view has them.
        payload: bytes = view.transaction.get(bucket.id + record.version, b"", view.payloads)  # type: ignore[assignment]
        return payload if record.is_payload(payload) else None

    def read(self, bucket: Bucket, record: Record, start: int, length: int) -> BodyBytes | None:
        """Bytes of chunk files; None unless all are verified and in memory."""
        if bucket.properties.verify == "always":
            return None
        pieces: list[bytearray] = []
        try:
            for chunk, at, end in chunk_ranges(record.chunks, start, length):
                if not self._window.holds_range(chunk.file_id, at, end):
                    return None
                if (piece := cached_bytes(self._descriptor(chunk), at, end)) is None:
                    return None
                pieces.append(piece)
        except (OSError, MountpathUnavailable):
            # Replaced meanwhile, or out of descriptors: who waits looks again, and explains.
            return None
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return data if len(data) == length else None

    def _view(self, place: PlacedName) -> _View:
        mountpath_id = self._mountpaths.of_hash(place.hashed)
        view = self._views.get(mountpath_id)
        if view is None:
            view = self._views[mountpath_id] = _View(self._indexes[mountpath_id])
        slot = place.slot
        if not view.owned[slot >> 3] & 1 << (slot & 7):
            view.index.check_owner(view.transaction, slot)
        return view

    def _descriptor(self, chunk: ChunkPlace) -> int:
        descriptor = self._descriptors.get(chunk.file_id)
        if descriptor is None:
            path = self._mountpaths.chunk_name(chunk.mountpath, chunk.file_id)
            descriptor = self._descriptors[chunk.file_id] = os.open(path, OPEN_FLAGS)
        return descriptor


class _View:
    """One index as it stood at the first look. Values are bytes of their own, no views."""

    __slots__ = ("index", "owned", "payloads", "reading", "records", "transaction")

    def __init__(self, index: Index) -> None:
        self.index = index
        self.records, self.payloads = index.records, index.payloads
        self.reading: Reading = index.read(buffers=False)
        self.transaction: lmdb.Transaction = self.reading.__enter__()
        self.owned = index.bitmap_of_look(self.transaction)
