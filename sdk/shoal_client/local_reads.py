"""Objects of a target on this host, read from the files that it passes to us, every block verified by us.

Reads use `preadv` and no memory map: a disk that fails is then an OSError, and not the end of the process.
"""

from __future__ import annotations

import os
import socket
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import xxhash

from shoal_core.decoding import UNDECODABLE
from shoal_core.descriptors import (
    CHUNKS_MAX,
    EXCHANGE_SECONDS_MAX,
    LENGTH,
    PROTOCOL,
    REPLY_BYTES_MAX,
    FilesReply,
    FilesRequest,
    PassedChunk,
    error_named,
    framed,
)
from shoal_core.errors import DataCorrupt, OwnerUnreachable

CHECKSUM_BYTES = 8
READERS = 4
ATTEMPTS = 5
"""At the files of an object that is being rechunked."""

_decoder = msgspec.msgpack.Decoder(FilesReply)


@dataclass(frozen=True, slots=True)
class Block:
    """What is verified at once."""

    descriptor: int
    place: int
    """Within the file."""
    offset: int
    """Within the object."""
    length: int
    checksum: bytes


class LocalObject:
    """One version of an object; stays readable when it is overwritten. `close` it, or use it as `with`. Blocks."""

    def __init__(self, replies: Sequence[FilesReply], descriptors: Sequence[int]) -> None:
        first = replies[0]
        self.size = first.size
        self.version = first.version
        self.etag = first.etag
        self._payload = first.payload
        self._descriptors = list(descriptors)
        chunks = [chunk for reply in replies for chunk in reply.chunks]
        self._blocks = [
            block
            for descriptor, chunk in zip(descriptors, chunks, strict=True)
            for block in blocks_of(descriptor, chunk)
        ]
        self._offsets = [block.offset for block in self._blocks]

    def read_into(self, memory: memoryview, *, readers: int = READERS) -> None:
        """Fill `memory`, of at least `size` bytes. Raises DataCorrupt; what is in it then is worth nothing."""
        memory[: len(self._payload)] = self._payload

        def read(block: Block) -> None:
            with memory[block.offset : block.offset + block.length] as place:
                read_block(block, place)

        with ThreadPoolExecutor(readers) as threads:
            for _ in threads.map(read, self._blocks):
                """Raises what the reader raised."""

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """A part of the object; what lies past its end is left out."""
        end = self.size if length is None else min(self.size, offset + length)
        if self._payload:
            return self._payload[offset:end]
        return b"".join(self._pieces(offset, end))

    def _pieces(self, offset: int, end: int) -> Iterator[bytes]:
        for block in self._blocks[max(bisect_right(self._offsets, offset) - 1, 0) :]:
            if block.offset >= end:
                return
            memory = memoryview(bytearray(block.length))
            read_block(block, memory)
            yield bytes(memory[max(offset - block.offset, 0) : end - block.offset])

    def close(self) -> None:
        self._blocks.clear()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_local(path: Path, bucket_id: bytes, name: str) -> LocalObject:
    """Ask the target whose descriptor socket lies at `path`. Blocks.

    Raises the target's errors, OwnerUnreachable when it does not answer, PreconditionFailed when the object was
    overwritten between two of the replies that one of very many chunks takes.
    """
    for _ in range(ATTEMPTS):
        descriptors: list[int] = []
        try:
            replies = collected(path, bucket_id, name, descriptors)
            if is_whole(replies):
                return LocalObject(replies, descriptors)
        except BaseException:
            close_all(descriptors)
            raise
        close_all(descriptors)
    raise DataCorrupt("the target passed other files than the object has")


def collected(path: Path, bucket_id: bytes, name: str, descriptors: list[int]) -> list[FilesReply]:
    """Adds to `descriptors`, which the caller closes."""
    replies: list[FilesReply] = []
    while True:
        version = replies[0].version if replies else b""
        request = FilesRequest(PROTOCOL, bucket_id, name, version, len(descriptors))
        reply = exchange(path, request, descriptors)
        replies.append(reply)
        if len(descriptors) >= reply.chunk_count or not reply.chunks:
            return replies


def is_whole(replies: Sequence[FilesReply]) -> bool:
    """Whether the chunks follow each other up to the end. They may not when the object was rechunked between two
    replies, for that leaves its version; if they do, it does not matter."""
    end = len(replies[0].payload)
    for reply in replies:
        for chunk in reply.chunks:
            if chunk.offset != end:
                return False
            end += chunk.length
    return end == replies[0].size


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def exchange(path: Path, request: FilesRequest, descriptors: list[int]) -> FilesReply:
    """Adds to `descriptors`, which the caller closes."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(EXCHANGE_SECONDS_MAX)
            connection.connect(str(path))
            connection.sendall(framed(request))
            head, passed, _, _ = socket.recv_fds(
                connection, LENGTH.size, CHUNKS_MAX, socket.MSG_WAITALL | socket.MSG_CMSG_CLOEXEC
            )
            descriptors.extend(passed)
            body = body_of(connection, head)
    except OSError as error:
        raise OwnerUnreachable(f"the target at {path} does not answer: {error}") from error
    try:
        reply = _decoder.decode(body)
    except UNDECODABLE as error:
        raise DataCorrupt("the target's reply cannot be decoded") from error
    if reply.error:
        raise error_named(reply.error, reply.message)
    if len(passed) != len(reply.chunks):
        raise DataCorrupt(f"the target passed {len(passed)} files for {len(reply.chunks)} chunks")
    return reply


def body_of(connection: socket.socket, head: bytes) -> bytes:
    if len(head) < LENGTH.size:
        raise ConnectionResetError("it hung up")
    (length,) = LENGTH.unpack(head)
    if length > REPLY_BYTES_MAX:
        raise DataCorrupt(f"a reply of {length} bytes; at most {REPLY_BYTES_MAX} are read")
    memory = memoryview(bytearray(length))
    done = 0
    while done < length:
        if not (count := connection.recv_into(memory[done:])):
            raise ConnectionResetError("it hung up in its reply")
        done += count
    return bytes(memory)


def blocks_of(descriptor: int, chunk: PassedChunk) -> Iterator[Block]:
    for number, place in enumerate(range(0, chunk.length, chunk.block_bytes)):
        length = min(chunk.block_bytes, chunk.length - place)
        checksum = chunk.block_checksums[number * CHECKSUM_BYTES :][:CHECKSUM_BYTES]
        yield Block(descriptor, place, chunk.offset + place, length, checksum)


def read_block(block: Block, memory: memoryview) -> None:
    """Both calls let other threads run."""
    count = os.preadv(block.descriptor, [memory], block.place)
    if count != block.length or xxhash.xxh3_64_digest(memory) != block.checksum:
        raise DataCorrupt(f"the block at byte {block.offset} fails its checksum: run `shoal fsck`")
