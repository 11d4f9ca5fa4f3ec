"""Chunk files: immutable files that hold an object's bytes and end in a checksummed footer.

`data ‖ footer (MessagePack) ‖ footer length (u32) ‖ XXH3-64 of the footer (u64) ‖ magic`, numbers big-endian. The data
is checksummed in blocks of 1 MiB, so that a range can be verified alone.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec
import xxhash

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import DataCorrupt
from shoal_store.durability import close_read

FORMAT = 1
MAGIC = b"SHOALck1"
BLOCK_BYTES = 1 << 20
BLOCK_BYTES_MAX = 16 << 20
CHECKSUM_BYTES = 8
TRAILER = struct.Struct(">IQ8s")
FOOTER_BYTES_MAX = 64 << 20


class Birth(msgspec.Struct, array_like=True, frozen=True):
    """Whose bytes these were when they were written: what a rebuild of a lost index starts from."""

    bucket_id: bytes
    name: str
    content_type: str
    metadata: dict[str, str]
    etag: str
    checksum_type: str
    checksum_value: str
    written_ns: int
    headers: dict[str, str] = {}
    """HTTP headers that belong to the content; of the last chunk alone, as the checksums."""


class Footer(msgspec.Struct, array_like=True, frozen=True):
    format: int
    chunk_id: bytes
    upload: str
    position: int
    """Offset of the chunk's first byte within its object, or within the part of the upload that it was born in."""
    length: int
    block_bytes: int
    block_checksums: bytes
    """8 bytes big-endian a block, XXH3-64."""
    birth: Birth
    """Of a chunk that is not the last, etag and checksum are "": they were not known yet. The manifest has them."""

    @property
    def blocks_checksum(self) -> int:
        return xxhash.xxh3_64_intdigest(self.block_checksums)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Footer)


def chunk_path(mountpath: Path, file_id: bytes) -> Path:
    name = file_id.hex()
    return mountpath.joinpath("data", name[:2], name)


def encode_footer(footer: Footer) -> bytes:
    body = _encoder.encode(footer)
    return body + TRAILER.pack(len(body), xxhash.xxh3_64_intdigest(body), MAGIC)


def read_footer(descriptor: int) -> Footer:
    """Raises DataCorrupt for a file that does not end as chunk files do."""
    size = os.fstat(descriptor).st_size
    trailer = read_at(descriptor, TRAILER.size, size - TRAILER.size) if size >= TRAILER.size else b""
    if len(trailer) < TRAILER.size:
        raise DataCorrupt("a chunk file is truncated: run `shoal fsck`")
    length, checksum, magic = TRAILER.unpack(trailer)
    start = size - TRAILER.size - length
    body = (
        read_at(descriptor, length, start)
        if magic == MAGIC and start >= 0 and length <= FOOTER_BYTES_MAX
        else b""
    )
    if not body or xxhash.xxh3_64_intdigest(body) != checksum:
        raise DataCorrupt("a chunk file's footer is damaged: run `shoal fsck`")
    try:
        footer = _decoder.decode(body)
    except UNDECODABLE as error:
        raise DataCorrupt("a chunk file's footer cannot be decoded: run `shoal fsck`") from error
    if footer.format != FORMAT:
        raise DataCorrupt(f"a chunk file has format {footer.format}; this Shoal knows {FORMAT}")
    if footer.length != start or not consistent(footer):
        raise DataCorrupt("a chunk file's footer does not fit its file: run `shoal fsck`")
    return footer


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Fewer bytes only at the end of the file; a single read may come short before it, and that is no damage."""
    data = os.pread(descriptor, length, offset)
    while (
        data and len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data)))
    ):
        data += more
    return data


def consistent(footer: Footer) -> bool:
    if not 0 < footer.block_bytes <= BLOCK_BYTES_MAX:
        return False
    blocks = -(-footer.length // footer.block_bytes)
    return len(footer.block_checksums) == CHECKSUM_BYTES * blocks


class ChunkReader:
    """An open chunk file. Every block is verified before any byte of it is returned."""

    def __init__(self, path: Path, *, blocks_checksum: int) -> None:
        """Raises FileNotFoundError when the version was replaced meanwhile, DataCorrupt when it is not that chunk."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self.footer = read_footer(self._descriptor)
            if self.footer.blocks_checksum != blocks_checksum:
                raise DataCorrupt("a chunk file is not the one that its record names: run `shoal fsck`")
        except BaseException:
            self.close()
            raise

    def read(self, offset: int, length: int, *, verify: bool = True) -> bytes:
        """At most `length` bytes from `offset` on, within one block."""
        block, within = divmod(offset, self.footer.block_bytes)
        start = block * self.footer.block_bytes
        end = min(start + self.footer.block_bytes, self.footer.length)
        if not verify:
            return read_at(self._descriptor, min(length, end - offset), offset)
        data = read_at(self._descriptor, end - start, start)
        expected = self.footer.block_checksums[CHECKSUM_BYTES * block :][:CHECKSUM_BYTES]
        if len(data) != end - start or xxhash.xxh3_64_digest(data) != expected:
            raise DataCorrupt(f"block {block} of a chunk file fails its checksum: run `shoal fsck`")
        return data if within == 0 and length >= len(data) else data[within : within + length]

    def close(self) -> None:
        if self._descriptor >= 0:
            close_read(self._descriptor)
            self._descriptor = -1
