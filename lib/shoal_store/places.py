"""Where an object's bytes lie: its chunk files, opened for reading, and what is needed to verify every block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shoal_core.errors import DataCorrupt, PreconditionFailed
from shoal_core.objects import Bucket
from shoal_store.chunkfile import Footer, chunk_path, read_footer
from shoal_store.durability import close_read, storage_error
from shoal_store.mountpaths import Mountpaths
from shoal_store.reader import ATTEMPTS_LEFT, StoreReader
from shoal_store.ready import OPEN_FLAGS
from shoal_store.record import ChunkPlace, Record


@dataclass(slots=True)
class OpenChunk:
    descriptor: int
    offset: int
    """Of its first byte within the object."""
    footer: Footer


@dataclass(slots=True)
class OpenPlaces:
    record: Record
    payload: bytes
    chunks: list[OpenChunk] = field(default_factory=list)

    def close(self) -> None:
        while self.chunks:
            close_read(self.chunks.pop().descriptor)


@contextmanager
def open_places(
    reader: StoreReader,
    mountpaths: Mountpaths,
    bucket: Bucket,
    name: str,
    *,
    version: bytes = b"",
    first_chunk: int = 0,
    chunks_max: int,
) -> Iterator[OpenPlaces]:
    """The current version, or `version` if it still is. Blocks; descriptors are closed at the end of the `with`.

    Raises ObjectNotFound, StaleEpoch, PreconditionFailed and DataCorrupt.
    """
    places = opened(reader, mountpaths, bucket, name, version, slice(first_chunk, first_chunk + chunks_max))
    try:
        yield places
    finally:
        places.close()


def opened(
    reader: StoreReader, mountpaths: Mountpaths, bucket: Bucket, name: str, version: bytes, wanted: slice
) -> OpenPlaces:
    what = f"{bucket.reference}/{name}"
    for attempt in ATTEMPTS_LEFT:
        record, payload, _ = reader.find(bucket, name, with_payload=True)
        if version and record.version != version:
            raise PreconditionFailed(f"{what} has another version now", condition="if_version")
        places = OpenPlaces(record, payload)
        try:
            open_chunks(places, mountpaths, wanted)
            return places
        except FileNotFoundError as error:
            # Replaced since we looked; a file that is missing for good is damage.
            places.close()
            if not attempt:
                raise DataCorrupt(f"a chunk file of {what} is missing: run `shoal fsck`") from error
        except OSError as error:
            places.close()
            raise storage_error(error, f"cannot open a chunk file of {what}") from error
        except BaseException:
            places.close()
            raise
    raise AssertionError("the last attempt returns or raises")


def open_chunks(places: OpenPlaces, mountpaths: Mountpaths, wanted: slice) -> None:
    offsets = [0]
    for chunk in places.record.chunks:
        offsets.append(offsets[-1] + chunk.length)
    for chunk, offset in list(zip(places.record.chunks, offsets, strict=False))[wanted]:
        path = chunk_path(mountpaths.path(chunk.mountpath), chunk.file_id)
        descriptor = os.open(path, OPEN_FLAGS)
        try:
            places.chunks.append(OpenChunk(descriptor, offset, footer_of(descriptor, chunk)))
        except BaseException:
            close_read(descriptor)
            raise


def footer_of(descriptor: int, chunk: ChunkPlace) -> Footer:
    footer = read_footer(descriptor)
    if footer.blocks_checksum != chunk.blocks_checksum or footer.length != chunk.length:
        raise DataCorrupt("a chunk file is not the one that its record names: run `shoal fsck`")
    return footer
