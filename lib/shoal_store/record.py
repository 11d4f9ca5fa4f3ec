"""The record of one version of an object, and how it lies in the index.

Value = format (1 byte) ‖ XXH3-64 over key and body (8 bytes, big-endian) ‖ body (MessagePack array). LMDB has no
of its own checksums; with the key inside, a record under the wrong key is found out too. Fields are only ever added
at the end, with a default.
"""

from __future__ import annotations

import msgspec
import xxhash

from shoal_core.errors import DataCorrupt
from shoal_core.objects import Checksum, ObjectInfo, Version

FORMAT = 1
HEAD_BYTES = 9


class ChunkPlace(msgspec.Struct, array_like=True, frozen=True):
    """One chunk file of an object."""

    mountpath: str
    file_id: bytes
    """16 random bytes."""
    length: int
    """Bytes of data, without the footer."""
    blocks_checksum: int
    """XXH3-64 over the footer's block checksums."""


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
    version: bytes = b""
    sequence: int = 0
    modified_ns: int = 0

    @property
    def inline(self) -> bool:
        return not self.chunks

    def info(self, name: str, location: str) -> ObjectInfo:
        checksum = Checksum(self.checksum_type, self.checksum_value) if self.checksum_value else None
        return ObjectInfo(
            name=name,
            size=self.size,
            version=Version(self.version),
            sequence=self.sequence,
            etag=self.etag,
            checksum=checksum,
            modified_ns=self.modified_ns,
            content_type=self.content_type,
            metadata=self.metadata,
            location=location,
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode_record(key: bytes, record: Record) -> bytes:
    body = _encoder.encode(record)
    return bytes((FORMAT,)) + xxhash.xxh3_64_digest(key + body) + body


def decode_record(key: bytes, value: bytes | memoryview) -> Record:
    """Raises DataCorrupt for anything that was not written by `encode_record` under this key."""
    value = bytes(value)
    body = value[HEAD_BYTES:]
    if len(value) < HEAD_BYTES or xxhash.xxh3_64_digest(key + body) != value[1:HEAD_BYTES]:
        raise DataCorrupt("a record of the index fails its checksum: run `shoal fsck`", key=key.hex()[:64])
    if value[0] != FORMAT:
        raise DataCorrupt(f"a record of the index has format {value[0]}; this Shoal knows {FORMAT}")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise DataCorrupt("a record of the index cannot be decoded: run `shoal fsck`") from error
