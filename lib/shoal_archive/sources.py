"""Where archives are read from: any range of a stored object, or a stream that is only read forward."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from shoal_archive.tar_reading import NotAnArchive
from shoal_core.errors import DataCorrupt
from shoal_core.objects import Bucket, ObjectBody, ObjectInfo, ObjectStore, Preconditions, RangeRequest

WINDOW_BYTES = 128 << 10
"""Read at once around a header: the headers of small members come with it."""
WINDOW_BYTES_MAX = 1 << 20
"""What that grows to among members that are smaller than the window."""

ReadRange = Callable[[int, int], Awaitable[bytes]]
"""(offset, length): all of these bytes, which must exist."""


class StoredArchive:
    """One version of an object. Reads fail with PreconditionFailed once it has been replaced."""

    def __init__(self, store: ObjectStore, bucket: Bucket, info: ObjectInfo) -> None:
        self.info = info
        self._store = store
        self._bucket = bucket

    async def open(self, offset: int, length: int) -> ObjectBody:
        """`length` is 1 or more."""
        return await self._store.open(
            self._bucket,
            self.info.name,
            range=RangeRequest(offset, offset + length - 1),
            preconditions=Preconditions(if_version=self.info.version),
        )

    async def open_all(self) -> ObjectBody:
        preconditions = Preconditions(if_version=self.info.version)
        return await self._store.open(self._bucket, self.info.name, preconditions=preconditions)

    async def read(self, offset: int, length: int) -> bytes:
        if not length:
            return b""
        body = await self.open(offset, length)
        try:
            data = b"".join([piece async for piece in body.chunks()])
        finally:
            await body.close()
        if len(data) != length:
            raise DataCorrupt(f"{self.info.name} ended {length - len(data)} bytes early")
        return data


class RangeSource:
    """A `tar_reading.Source` that never reads what is skipped, but for the rest of its window."""

    def __init__(self, read: ReadRange, size: int) -> None:
        self.position = 0
        self._read = read
        self._size = size
        self._window = b""
        self._window_begin = 0

    async def read(self, count: int) -> bytes:
        count = min(count, self._size - self.position)
        begin = self.position - self._window_begin
        if begin < 0 or begin + count > len(self._window):
            length = min(max(count, self._next_window_bytes()), self._size - self.position)
            self._window = await self._read(self.position, length)
            self._window_begin, begin = self.position, 0
        self.position += count
        return self._window[begin : begin + count]

    def _next_window_bytes(self) -> int:
        """Twice the last one, unless more than that was skipped behind it."""
        held = len(self._window)
        skipped = self.position - self._window_begin - held
        return min(2 * held, WINDOW_BYTES_MAX) if skipped < held else WINDOW_BYTES

    async def skip(self, count: int) -> None:
        if self.position + count > self._size:
            raise NotAnArchive("the tar archive ends within a member")
        self.position += count


class StreamSource:
    """A `tar_reading.Source` over pieces that come one after the other."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self.position = 0
        self._pieces = pieces
        self._piece = b""
        self._used = 0

    async def read(self, count: int) -> bytes:
        found: list[bytes] = []
        while count and (piece := await self.some(count)):
            found.append(piece)
            count -= len(piece)
        return b"".join(found)

    async def skip(self, count: int) -> None:
        while count:
            piece = await self.some(count)
            if not piece:
                raise NotAnArchive("the tar archive ends within a member")
            count -= len(piece)

    async def some(self, count: int) -> bytes:
        """At most `count` bytes, as many as are at hand; none only at the end."""
        while self._used == len(self._piece):
            self._piece, self._used = await anext(self._pieces, b""), 0
            if not self._piece:
                return b""
        piece = self._piece[self._used : self._used + count]
        self._used += len(piece)
        self.position += len(piece)
        return piece
