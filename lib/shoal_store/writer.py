"""Writing a body: small ones stay in memory for the index, others stream into chunk files."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import xxhash

from shoal_core.errors import SizeMismatch
from shoal_core.objects import CHUNK_BYTES_DEFAULT, CHUNKS_MAX, Bucket, BucketProperties, PutRequest
from shoal_store.chunkfile import BLOCK_BYTES, Birth, chunk_path
from shoal_store.chunkwriter import ChunkWriter
from shoal_store.copying import link_chunks, sync_bytes, sync_names
from shoal_store.hashing import Bytes, ContentHashes, etag_kind
from shoal_store.in_flight import WritesInFlight
from shoal_store.keys import encode_name, is_hashed, key_of
from shoal_store.manifest import has_manifest, link_manifest, manifest_path, write_manifest
from shoal_store.mountpaths import Mountpaths, TemporaryFolder
from shoal_store.record import ChunkPlace, Record
from shoal_store.threads import ThreadBeside, in_thread

INLINE_BYTES_MAX = 32 << 10
COPIED_BYTES_MAX = 64 << 10
"""Pieces of more bytes are written from where they are."""


@dataclass(frozen=True, slots=True)
class Written:
    """A body that is safe on disk (or small enough for the index), ready to be committed or discarded."""

    record: Record
    payload: bytes | None
    files: tuple[Path, ...] = ()
    in_flight: WritesInFlight | None = None
    """Has the files, if there are any."""

    def discard(self) -> None:
        """Blocks."""
        if self.in_flight is not None:
            discard(self.files, self.in_flight)

    def settle(self) -> None:
        """The outcome of the commit is known, as far as it ever will be: an orphan among the files may be collected."""
        if self.in_flight is not None:
            self.in_flight.settle(bytes.fromhex(path.stem) for path in self.files)


def discard(files: Sequence[Path], in_flight: WritesInFlight) -> None:
    """Blocks. What cannot be removed stays as an orphan."""
    for path in files:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    in_flight.settle(bytes.fromhex(path.stem) for path in files)


class BodyWriter:
    def __init__(self, mountpaths: Mountpaths, temporary: TemporaryFolder) -> None:
        self._mountpaths = mountpaths
        self._temporary = temporary
        self.in_flight = WritesInFlight(temporary)

    async def write(
        self,
        bucket: Bucket,
        request: PutRequest,
        body: AsyncIterator[bytes],
        *,
        chunk_bytes: int | None = None,
        upload: str = "",
    ) -> Written:
        """Takes the body to its end, into one chunk or several of at most `chunk_bytes` (None: as the bucket says).
        Leaves nothing when it raises. Holds at most two blocks and two pieces of the body in memory, one of each on
        their way to the disk. A part of an upload always becomes chunks, and has no manifest: that is written when
        the upload is completed."""
        self._mountpaths.require_name(bucket.id, encode_name(request.name))
        if chunk_bytes is None and not upload:
            chunk_bytes = chunk_bytes_of(bucket.properties, request.size)
        kind = etag_kind(bucket, request)
        hashes = ContentHashes(bucket.properties.checksum_type, request.checksums, etag=kind)
        files = self.files(bucket, request, hashes, chunk_bytes=chunk_bytes, upload=upload)
        disk, hashing, gathered, size = ThreadBeside(), ThreadBeside(), Gathered(), 0
        try:
            async for piece in body:
                size += len(piece)
                if request.size is not None and size > request.size:
                    raise wrong_size(request.size, f"more than {request.size}")
                gathered.add(piece)
                if gathered.length >= BLOCK_BYTES:
                    full, gathered = gathered, Gathered()
                    if hashes.are_slow:
                        await hashing.run(hashes.update_all, full.pieces)
                    await disk.run(files.write, full.pieces, hashed=hashes.are_slow)
            if request.size is not None and size != request.size:
                raise wrong_size(request.size, str(size))
            if size <= INLINE_BYTES_MAX and not upload:
                return inline_written(request, b"".join(gathered.pieces), hashes)
            await hashing.ended()
            await disk.ended()
            return await in_thread(files.finish, gathered.pieces)
        except (Exception, asyncio.CancelledError):
            for thread in (hashing, disk):
                with suppress(Exception, asyncio.CancelledError):
                    await thread.ended()
            await in_thread(files.abort)
            raise

    def write_whole(self, bucket: Bucket, request: PutRequest, body: Bytes) -> Written:
        """As `write`, of a body that is here and too large for the index: all in one go. Blocks."""
        self._mountpaths.require_name(bucket.id, encode_name(request.name))
        hashes = ContentHashes(
            bucket.properties.checksum_type, request.checksums, etag=etag_kind(bucket, request)
        )
        chunk_bytes = chunk_bytes_of(bucket.properties, len(body))
        files = self.files(bucket, request, hashes, chunk_bytes=chunk_bytes)
        try:
            return files.finish((body,))
        except BaseException:
            files.abort()
            raise

    def files(
        self,
        bucket: Bucket,
        request: PutRequest,
        hashes: ContentHashes,
        *,
        chunk_bytes: int | None,
        upload: str = "",
    ) -> BodyFiles:
        return BodyFiles(
            self._mountpaths,
            self._temporary,
            self.in_flight,
            bucket,
            request,
            hashes,
            chunk_bytes=chunk_bytes,
            upload=upload,
        )

    def link(self, bucket: Bucket, name: str, record: Record) -> Written:
        """The bytes of another object's `record`, ready to be committed as `name`. Leaves nothing when it raises.
        Blocks. Raises as `link_chunks`."""
        files, synced = list[Path](), bucket.properties.durability == "fsync"
        try:
            chunks = link_chunks(self._mountpaths, self.in_flight, record.chunks, files)
            if synced:
                chunks = sync_bytes(files, chunks)
            record = msgspec.structs.replace(record, chunks=chunks, linked=True)
            manifest = manifest_path(files[0])
            with self._mountpaths.faults.watching(chunks[0].mountpath):
                is_told = link_manifest(manifest, *manifested(bucket, name, record))
            if synced:
                sync_names(files)
            if not is_told:
                self.write_manifest(bucket, name, record)
        except BaseException:
            discard([*map(manifest_path, files[:1]), *files], self.in_flight)
            raise
        return Written(record, None, (*files, manifest), self.in_flight)

    def write_manifest(self, bucket: Bucket, name: str, record: Record) -> None:
        """For the record of an upload or a copy, before it is committed. Blocks. Raises OutOfSpace and Unavailable."""
        put_manifest(self._mountpaths, self._temporary, bucket, name, record=record)


class Gathered:
    """Pieces of a body that go to the disk together. Small ones are joined: a million of one byte are a MiB."""

    def __init__(self) -> None:
        self.pieces: list[bytes | bytearray] = []
        self.length = 0
        self._small = bytearray()

    def add(self, piece: bytes) -> None:
        self.length += len(piece)
        if len(piece) >= COPIED_BYTES_MAX:
            self.pieces.append(piece)
            self._small = bytearray()
            return
        if piece and not self._small:
            self.pieces.append(self._small)
        self._small += piece


class BodyFiles:
    """The files of one body in the making. Its methods block: call them in a thread."""

    def __init__(
        self,
        mountpaths: Mountpaths,
        temporary: TemporaryFolder,
        in_flight: WritesInFlight,
        bucket: Bucket,
        request: PutRequest,
        hashes: ContentHashes,
        *,
        chunk_bytes: int | None,
        upload: str,
    ) -> None:
        self._mountpaths = mountpaths
        self._temporary = temporary
        self._in_flight = in_flight
        self._bucket = bucket
        self._request = request
        self._hashes = hashes
        self._chunk_bytes = chunk_bytes
        self._upload = upload
        self._synced = bucket.properties.durability == "fsync"
        self._size = 0
        self._chunk: ChunkWriter | None = None
        self._places: list[ChunkPlace] = []
        self._finished: list[Path] = []

    def write(self, pieces: Sequence[Bytes], *, hashed: bool = False) -> None:
        """`hashed`: another thread adds the pieces to the checksums of the whole."""
        for piece in pieces:
            known = None
            if not hashed:
                self._hashes.update(piece)
                known = None if self._size else self._hashes.xxh3
            self._write(memoryview(piece), known)

    def _write(self, view: memoryview, known: xxhash.xxh3_64 | None) -> None:
        """`known` is the hash of just this piece, if somebody has it."""
        whole = len(view)
        while view:
            chunk = self._open_chunk()
            room = len(view) if self._chunk_bytes is None else self._chunk_bytes - chunk.length
            part, view = view[:room], view[room:]
            with self._mountpaths.faults.watching(chunk.mountpath_id):
                chunk.write(part, known=known if len(part) == whole else None)
            self._size += len(part)
            if view:
                self._finish_chunk("", "", "", {})

    def finish(self, rest: Sequence[Bytes]) -> Written:
        """Raises ChecksumMismatch before anything has its final name, when there is one chunk."""
        self.write(rest)
        self._hashes.check()
        return self.finish_as(record_of(self._request, self._size, self._hashes, ()))

    def finish_as(self, record: Record) -> Written:
        """`record` says of the object everything but its chunks."""
        self._open_chunk()  # a part of no bytes is a chunk too
        self._finish_chunk(record.etag, record.checksum_type, record.checksum_value, record.headers)
        record = msgspec.structs.replace(record, chunks=tuple(self._places))
        if has_manifest(record) and not self._upload:
            self._write_manifest(record)
        return Written(record, None, tuple(self._finished), self._in_flight)

    def abort(self) -> None:
        if self._chunk is not None:
            self._chunk.abort()
            self._in_flight.settle([self._chunk.file_id])
        discard(self._finished, self._in_flight)

    def _open_chunk(self) -> ChunkWriter:
        if self._chunk is None:
            folder = self._mountpaths.next_for_chunk()
            with self._mountpaths.faults.watching(folder.id):
                self._chunk = ChunkWriter(
                    folder, self._temporary.path_of_file(folder.id), position=self._size, synced=self._synced
                )
        return self._chunk

    def _finish_chunk(
        self, etag: str, checksum_type: str, checksum_value: str, headers: dict[str, str]
    ) -> None:
        assert self._chunk is not None
        request = self._request
        birth = Birth(
            self._bucket.id,
            request.name,
            request.content_type,
            dict(request.metadata),
            etag,
            checksum_type,
            checksum_value,
            time.time_ns(),
            headers,
        )
        with self._mountpaths.faults.watching(self._chunk.mountpath_id):
            self._in_flight.add(self._chunk.mountpath_id, self._chunk.file_id)
            self._places.append(self._chunk.finish(birth, upload=self._upload, synced=self._synced))
        self._finished.append(self._chunk.path)
        self._chunk = None

    def _write_manifest(self, record: Record) -> None:
        self._finished.append(manifest_path(self._finished[0]))
        put_manifest(self._mountpaths, self._temporary, self._bucket, self._request.name, record=record)


def put_manifest(
    mountpaths: Mountpaths, temporary: TemporaryFolder, bucket: Bucket, name: str, *, record: Record
) -> None:
    """Blocks. Raises OutOfSpace and Unavailable."""
    first = record.chunks[0]
    path = manifest_path(chunk_path(mountpaths.path(first.mountpath), first.file_id))
    unfinished = temporary.path_of_file(first.mountpath) / f"{path.name}.{secrets.token_hex(8)}"
    key, record = manifested(bucket, name, record)
    with mountpaths.faults.watching(first.mountpath):
        write_manifest(path, unfinished, key, record, synced=bucket.properties.durability == "fsync")


def manifested(bucket: Bucket, name: str, record: Record) -> tuple[bytes, Record]:
    """Key and record, as a manifest has them."""
    if not record.modified_ns:
        record = msgspec.structs.replace(record, modified_ns=time.time_ns())
    key = key_of(bucket.id, encode_name(name))
    return key, record.named(name) if is_hashed(key) else record


def chunk_bytes_of(properties: BucketProperties, size: int | None) -> int | None:
    """Into chunks of how many bytes an object goes; None for one of any size. `size` is None when it is not known."""
    if not properties.chunk_above_bytes or (size is not None and size <= properties.chunk_above_bytes):
        return None
    return max(properties.chunk_bytes or CHUNK_BYTES_DEFAULT, -(-(size or 0) // CHUNKS_MAX))


def inline(bucket: Bucket, request: PutRequest, payload: bytes) -> Written:
    """A whole body of at most INLINE_BYTES_MAX."""
    kept, kind = bucket.properties.checksum_type, etag_kind(bucket, request)
    return inline_written(request, payload, ContentHashes(kept, request.checksums, etag=kind))


def inline_written(request: PutRequest, payload: bytes, hashes: ContentHashes) -> Written:
    hashes.update(payload)
    hashes.check()
    checksum = xxhash.xxh3_64_intdigest(payload)
    return Written(record_of(request, len(payload), hashes, (), payload_checksum=checksum), payload, ())


def record_of(
    request: PutRequest,
    size: int,
    hashes: ContentHashes,
    chunks: tuple[ChunkPlace, ...],
    *,
    payload_checksum: int = 0,
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
        payload_checksum=payload_checksum,
        headers={**request.headers, **request.late_headers()},
    )


def wrong_size(announced: int, received: str) -> SizeMismatch:
    return SizeMismatch(
        f"the body has {received} bytes, {announced} were announced: nothing was stored",
        announced=str(announced),
        received=received,
    )
