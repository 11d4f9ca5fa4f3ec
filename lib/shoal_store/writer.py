"""Writing a body: small ones stay in memory for the index, others stream into a chunk file."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from shoal_core.errors import SizeMismatch
from shoal_core.objects import Bucket, PutRequest
from shoal_store.chunkfile import BLOCK_BYTES, FORMAT, Birth, Footer, chunk_path, encode_footer
from shoal_store.durability import storage_error, sync_data, sync_directory
from shoal_store.hashing import ContentHashes
from shoal_store.mountpaths import Mountpaths, TemporaryFolder
from shoal_store.record import ChunkPlace, Record

INLINE_BYTES_MAX = 16 << 10


@dataclass(frozen=True, slots=True)
class Written:
    """A body that is safe on disk (or small enough for the index), ready to be committed or discarded."""

    record: Record
    payload: bytes | None
    files: tuple[Path, ...]

    def discard(self) -> None:
        for path in self.files:
            path.unlink(missing_ok=True)


class BodyWriter:
    def __init__(self, mountpaths: Mountpaths, temporary: TemporaryFolder) -> None:
        self._mountpaths = mountpaths
        self._temporary = temporary

    async def write(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> Written:
        """Takes the body to its end. Leaves nothing when it raises."""
        hashes = ContentHashes(bucket.properties.checksum_type, request.checksums)
        limit = request.size
        buffered, size, chunk = bytearray(), 0, None
        try:
            async for piece in body:
                size += len(piece)
                if limit is not None and size > limit:
                    raise wrong_size(limit, f"more than {limit}")
                buffered += piece
                if chunk is None and size > INLINE_BYTES_MAX:
                    chunk = await asyncio.to_thread(ChunkWriter, self._mountpaths, self._temporary)
                if chunk is not None and len(buffered) >= BLOCK_BYTES:
                    whole = len(buffered) // BLOCK_BYTES * BLOCK_BYTES
                    blocks = bytes(buffered[:whole])
                    del buffered[:whole]
                    await asyncio.to_thread(take, blocks, chunk, hashes)
            if limit is not None and size != limit:
                raise wrong_size(limit, str(size))
            if chunk is None:
                return inline(request, bytes(buffered), hashes)
            return await asyncio.to_thread(finish, bucket, request, bytes(buffered), chunk, hashes)
        except BaseException:
            if chunk is not None:
                chunk.abort()
            raise


class ChunkWriter:
    """One chunk file in the making. Its methods block: call them in a thread."""

    def __init__(self, mountpaths: Mountpaths, temporary: TemporaryFolder) -> None:
        self._folder = mountpaths.next_for_chunk()
        self.file_id = secrets.token_bytes(16)
        self._temporary = temporary.path(self._folder.id) / self.file_id.hex()
        self.path = chunk_path(self._folder.path, self.file_id)
        self._checksums = bytearray()
        self.length = 0
        self._file: BinaryIO | None = self._temporary.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Whole blocks, but for the last call."""
        assert self._file is not None
        view = memoryview(data)
        for start in range(0, len(view), BLOCK_BYTES):
            self._checksums += xxhash.xxh3_64_digest(view[start : start + BLOCK_BYTES])
        self.length += len(view)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise storage_error(error, "writing a chunk failed") from error

    def finish(self, birth: Birth, *, synced: bool) -> ChunkPlace:
        """After this the chunk is durable under its final name; `abort` still removes it."""
        assert self._file is not None
        footer = Footer(FORMAT, self.file_id, "", 0, self.length, BLOCK_BYTES, bytes(self._checksums), birth)
        try:
            view = memoryview(encode_footer(footer))
            while view:
                view = view[self._file.write(view) :]
            if synced:
                sync_data(self._file.fileno(), "chunk data")
            self._file.close()
            self._file = None
            os.rename(self._temporary, self.path)
        except OSError as error:
            raise storage_error(error, "finishing a chunk failed") from error
        if synced:
            sync_directory(self.path.parent, "chunk name")
        return ChunkPlace(self._folder.id, self.file_id, self.length, footer.blocks_checksum)

    def abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def take(data: bytes, chunk: ChunkWriter, hashes: ContentHashes) -> None:
    hashes.update(data)
    chunk.write(data)


def inline(request: PutRequest, payload: bytes, hashes: ContentHashes) -> Written:
    hashes.update(payload)
    hashes.check()
    return Written(record_of(request, len(payload), hashes, ()), payload, ())


def finish(
    bucket: Bucket, request: PutRequest, rest: bytes, chunk: ChunkWriter, hashes: ContentHashes
) -> Written:
    if rest:
        take(rest, chunk, hashes)
    hashes.check()
    kept = hashes.kept()
    birth = Birth(
        bucket.id,
        request.name,
        request.content_type,
        dict(request.metadata),
        request.etag or hashes.etag(),
        kept.type,
        kept.value,
        time.time_ns(),
    )
    place = chunk.finish(birth, synced=bucket.properties.durability == "fsync")
    return Written(record_of(request, chunk.length, hashes, (place,)), None, (chunk.path,))


def record_of(
    request: PutRequest, size: int, hashes: ContentHashes, chunks: tuple[ChunkPlace, ...]
) -> Record:
    kept = hashes.kept()
    return Record(
        size=size,
        etag=request.etag or hashes.etag(),
        checksum_type=kept.type,
        checksum_value=kept.value,
        content_type=request.content_type,
        metadata=dict(request.metadata),
        chunks=chunks,
        payload_checksum=0 if chunks else hashes.xxh3(),
    )


def wrong_size(announced: int, received: str) -> SizeMismatch:
    return SizeMismatch(
        f"the body has {received} bytes, {announced} were announced: nothing was stored",
        announced=str(announced),
        received=received,
    )
