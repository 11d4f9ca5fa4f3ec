"""What of an object can leave at once, without waiting for a disk or for a thread: the fast lane's side of reading.

Small objects come from the index's pages and are verified each time. Files are opened, and given away as descriptors
and ranges, only when every block of the range has been verified by this process lately and lies in the page cache.
Whatever is not ready, for whatever reason, is left to `StoreReader.open`, which waits, verifies and explains.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from shoal_core.objects import BodyBytes, ByteRange
from shoal_store.durability import close_read
from shoal_store.record import ChunkPlace, Record

READY_BYTES = 4 << 20
"""Of a range, what must be in memory for it to be ready. What follows is looked at when its turn comes. As much as the
kernel lets a socket hold: with 1 MiB a turn, 64 MiB took twice as many turns and a tenth more CPU."""
READ_BYTES_MAX = 32 << 10
"""Of a file, so few are read, and sent with the head: two calls, where looking whether they are in memory, sending the
head and sending the file are four. 16 KiB take half the time so, 32 KiB four fifths, 64 KiB as much."""
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
NOBODY_READS = [bytearray(1)]
"""Where a look into the page cache puts the byte that it finds."""
PROBE_BYTES = 256 << 10
"""Between two looks into the page cache: the kernel reads ahead, and drops, in pieces of about this size."""


class FileRange(msgspec.Struct, gc=False):
    """Bytes of an open file. Whoever has it closes the descriptor. No dataclass, as ReadyObject."""

    descriptor: int
    offset: int
    end: int


class ReadyObject(msgspec.Struct, gc=False):
    """`payload` or `files` has the bytes asked for; neither for a look at the record alone. No dataclass, because one
    is made for every answer, and out of sight of the garbage collector: nothing that it holds leads back to it."""

    record: Record
    location: str
    range: ByteRange | None
    payload: BodyBytes = b""
    files: Sequence[FileRange] = ()


def close_files(files: Sequence[FileRange]) -> None:
    for file in files:
        close_read(file.descriptor)


def chunk_ranges(chunks: Sequence[ChunkPlace], start: int, length: int) -> list[tuple[ChunkPlace, int, int]]:
    """(chunk, first byte within it, end within it) for every chunk that `length` bytes from `start` on touch."""
    if len(chunks) == 1:
        (chunk,) = chunks
        return [(chunk, start, min(start + length, chunk.length))] if length and start < chunk.length else []
    found, begin, stop = [], 0, start + length
    for chunk in chunks:
        end = begin + chunk.length
        if begin < stop and start < end:
            found.append((chunk, max(start - begin, 0), min(stop - begin, chunk.length)))
        begin = end
    return found


def cached_bytes(descriptor: int, offset: int, end: int) -> bytearray | None:
    """These bytes if a read finds all of them in memory: one call, where a look and a read are three."""
    data = bytearray(end - offset)
    try:
        return data if os.preadv(descriptor, (data,), offset, os.RWF_NOWAIT) == len(data) else None
    except OSError:
        # As `is_cached`.
        return None


def is_cached(descriptor: int, offset: int, end: int) -> bool:
    """Whether a read would find the bytes in memory, as far as a look every PROBE_BYTES can tell."""
    probe = os.preadv
    try:
        for position in range(offset, end, PROBE_BYTES):
            probe(descriptor, NOBODY_READS, position, os.RWF_NOWAIT)
        probe(descriptor, NOBODY_READS, end - 1, os.RWF_NOWAIT)
    except OSError:
        # EAGAIN for bytes that are on disk alone; EOPNOTSUPP where the filesystem cannot tell.
        return False
    return True
