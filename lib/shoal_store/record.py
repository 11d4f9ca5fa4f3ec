"""The record of one version of an object: a sealed MessagePack array, whose fields are only ever added at the end."""

from __future__ import annotations

import msgspec
import xxhash

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import DataCorrupt
from shoal_core.objects import Checksum, ObjectInfo, Version
from shoal_core.part_runs import PartRun
from shoal_store.sealed import seal, unseal

FORMAT = 1


class ChunkPlace(msgspec.Struct, array_like=True, frozen=True):
    """One chunk file of an object."""

    mountpath: str
    file_id: bytes
    """16 random bytes."""
    length: int
    """Bytes of data, without the footer."""
    blocks_checksum: int
    """XXH3-64 over the footer's block checksums."""
    synced: bool = False
    """Its bytes were synced before it got its name, so that a link to it owes them nothing."""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """Everything the index knows of one version."""

    size: int
    etag: str
    checksum_type: str
    checksum_value: str
    content_type: str
    metadata: dict[str, str]
    chunks: tuple[ChunkPlace, ...] = ()
    payload_checksum: int = 0
    """XXH3-64 of the inline bytes; meaningful when there are no chunks."""
    name: str = ""
    """Set only when the key does not hold the whole name."""
    upload: str = ""
    """The multipart upload that made it."""
    version: Version = Version(b"")
    sequence: int = 0
    modified_ns: int = 0
    delete_marker: bool = False
    """In `versions` only: here the object was deleted. It has no bytes."""
    headers: dict[str, str] = {}
    """HTTP headers that belong to the content."""
    parts: tuple[PartRun, ...] = ()
    """Of an object that an upload made: one part may be several chunks, so these do not tell."""
    linked: bool = False
    """A copy whose chunk files are links to another object's, and whose footers name that one."""

    @property
    def inline(self) -> bool:
        return not self.chunks and not self.delete_marker

    @property
    def is_chunked(self) -> bool:
        """Each part of an upload is a chunk, also when there was only one."""
        return len(self.chunks) > 1 or (bool(self.upload) and bool(self.chunks))

    def is_payload(self, payload: bytes | memoryview) -> bool:
        """Whether these are the bytes of this version, which the index holds."""
        return len(payload) == self.size and xxhash.xxh3_64_intdigest(payload) == self.payload_checksum

    def named(self, name: str) -> Record:
        """For a key that does not hold the whole name."""
        return msgspec.structs.replace(self, name=name)

    def info(self, name: str, location: str) -> ObjectInfo:
        checksum = Checksum(self.checksum_type, self.checksum_value) if self.checksum_value else None
        return ObjectInfo(
            name=name,
            size=self.size,
            version=self.version,
            sequence=self.sequence,
            etag=self.etag,
            checksum=checksum,
            modified_ns=self.modified_ns,
            content_type=self.content_type,
            metadata=self.metadata,
            location=location,
            headers=self.headers,
            parts=self.parts,
            chunk_count=len(self.chunks) if self.is_chunked else 0,
            chunk_bytes_max=max(chunk.length for chunk in self.chunks) if self.is_chunked else 0,
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode_record(key: bytes, record: Record) -> bytes:
    return seal(key, _encoder.encode(record), format=FORMAT)


def decode_record(key: bytes, value: bytes | memoryview) -> Record:
    """Raises DataCorrupt for anything that was not written by `encode_record` under this key."""
    try:
        return _decoder.decode(unseal(key, value, format=FORMAT, what="a record"))
    except UNDECODABLE as error:
        raise DataCorrupt("a record of the index cannot be decoded: run `shoal fsck`") from error


def delete_marker(name: str) -> Record:
    """`name` only when the key does not hold it."""
    return Record(0, "", "none", "", "", {}, name=name, delete_marker=True)
