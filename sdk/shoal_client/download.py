"""A large object into a file by several workers, which goes on where it was killed.

Beside the file lie, until it is whole, its bytes so far (`.shoal-<id>.part`) and what is known of them
(`.shoal-<id>.state`): a line with the version, then one for each range that is on disk, with its XXH3-64.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import xxhash

from shoal_client.parallel import ParallelObject, by_workers
from shoal_core.errors import ChecksumMismatch, Conflict
from shoal_core.objects import ByteRange, ObjectInfo
from shoal_store.hashing import HASHES
from shoal_store.threads import in_thread

Line = TypeVar("Line")
SYNC_RANGES = 8
"""As many ranges may have to be read again after a loss of power."""


class Begun(msgspec.Struct, frozen=True):
    """Of what object the bytes are: any difference, and they are worth nothing."""

    bucket: str
    name: str
    version: bytes
    size: int
    range_bytes: int


class Done(msgspec.Struct, frozen=True):
    offset: int
    length: int
    checksum: int
    """XXH3-64 of the range."""


async def download(
    reading: ParallelObject,
    destination: Path,
    *,
    bucket: str,
    progress: Callable[[int], None] | None = None,
) -> ObjectInfo:
    """Write a version to `destination`, which appears only when all is there and verified.

    Raises Conflict when another process writes the same file, ChecksumMismatch when the whole is not what was
    put (then nothing is kept), OSError as files do. After any other failure the next call goes on.
    """
    info = reading.info
    begun = Begun(bucket, info.name, bytes(info.version), info.size, reading.range_bytes)
    partial = await asyncio.to_thread(PartialFile, destination, begun)
    try:
        done = await in_thread(partial.resume)
        if progress:
            progress(sum(done.values()))

        async def fetch(lane: int, wanted: ByteRange) -> None:
            memory = memoryview(bytearray(wanted.length))
            await reading.read(wanted, memory, lane=lane)
            await in_thread(partial.write, wanted, memory)
            if progress:
                progress(wanted.length)

        missing = (wanted for wanted in reading.ranges() if wanted.offset not in done)
        await by_workers(reading.workers, missing, fetch)
        await in_thread(partial.complete, info)
    finally:
        await in_thread(partial.close)
    return info


class PartialFile:
    """The bytes so far and their state, of one process at a time. Every method blocks."""

    def __init__(self, destination: Path, begun: Begun) -> None:
        self._destination = destination
        self._begun = begun
        # The destination's name may already be as long as a file name can be.
        identity = xxhash.xxh3_64_hexdigest(os.fsencode(destination.name))
        self._part = destination.parent / f".shoal-{identity}.part"
        self._state = destination.parent / f".shoal-{identity}.state"
        self._unsynced: list[Done] = []
        self._syncing = threading.Lock()
        self._marks = os.open(self._state, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._file = -1
        try:
            self._lock()
            self._file = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except BaseException:
            self.close()
            raise

    def resume(self) -> dict[int, int]:
        """Offset and length of the ranges that are there and verified; begins anew if there are none."""
        lines = self._read_marks()
        if not lines or decoded(lines[0], Begun) != self._begun:
            self._begin()
            return {}
        marks = [mark for line in lines[1:] if (mark := decoded(line, Done))]
        # What was cut off in the middle of a line must not join the next one.
        os.write(self._marks, b"\n")
        return {mark.offset: mark.length for mark in marks if self._holds(mark)}

    def write(self, wanted: ByteRange, memory: memoryview) -> None:
        write_all(self._file, memory, wanted.offset)
        self._unsynced.append(Done(wanted.offset, wanted.length, xxhash.xxh3_64_intdigest(memory)))
        if len(self._unsynced) >= SYNC_RANGES:
            self._sync()

    def complete(self, info: ObjectInfo) -> None:
        """Verify the whole, as far as the object has a checksum of it, and give it its name."""
        self._sync()
        self._verify(info)
        os.fsync(self._file)
        os.replace(self._part, self._destination)
        self._state.unlink(missing_ok=True)
        sync_folder(self._destination.parent)

    def close(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                self._sync()
            os.close(self._file)
        os.close(self._marks)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._marks, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another process is downloading to {self._destination}: wait for it or choose another name"
            ) from error
        # Whoever had the lock before may have finished and removed the file that we wait at.
        if not self._state.exists() or os.fstat(self._marks).st_ino != self._state.stat().st_ino:
            raise Conflict(f"another process has just downloaded to {self._destination}: try again")

    def _read_marks(self) -> list[bytes]:
        return os.pread(self._marks, os.fstat(self._marks).st_size, 0).splitlines()

    def _begin(self) -> None:
        os.ftruncate(self._marks, 0)
        os.ftruncate(self._file, 0)
        if self._begun.size:
            os.posix_fallocate(self._file, 0, self._begun.size)
        os.write(self._marks, msgspec.json.encode(self._begun) + b"\n")

    def _holds(self, mark: Done) -> bool:
        data = os.pread(self._file, mark.length, mark.offset)
        return len(data) == mark.length and xxhash.xxh3_64_intdigest(data) == mark.checksum

    def _sync(self) -> None:
        """Bytes first: a mark on disk says that its bytes are there too."""
        with self._syncing:
            marks, self._unsynced = self._unsynced, []
            if not marks:
                return
            os.fdatasync(self._file)
            os.write(self._marks, b"".join(msgspec.json.encode(mark) + b"\n" for mark in marks))

    def _verify(self, info: ObjectInfo) -> None:
        if info.checksum is None or info.checksum.type not in HASHES or not info.size:
            return
        found = file_checksum(self._file, info.size, info.checksum.type)
        if found != info.checksum.value.lower():
            self._part.unlink()
            self._state.unlink()
            raise ChecksumMismatch(
                f"the {info.checksum.type} checksum of what was read is {found}, not {info.checksum.value}: "
                "nothing was kept, read it again",
                type=info.checksum.type,
            )


def decoded(line: bytes, kind: type[Line]) -> Line | None:
    """None for what was cut off by a kill or a loss of power."""
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        return None


def write_all(descriptor: int, memory: memoryview, offset: int) -> None:
    while memory:
        written = os.pwrite(descriptor, memory, offset)
        memory, offset = memory[written:], offset + written


def pieces(size: int) -> Iterator[slice]:
    return (slice(start, start + (1 << 20)) for start in range(0, size, 1 << 20))


def file_checksum(descriptor: int, size: int, kind: str) -> str:
    hash = HASHES[kind]()
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapping:
        for piece in pieces(size):
            hash.update(mapping[piece])
    return hash.hexdigest()


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
