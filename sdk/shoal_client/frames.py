"""Bodies on the wire: pieces of any size into frames of at most 1 MiB, each with a CRC32C, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crc32c import crc32c

from shoal.object.v1.object_pb2 import Frame
from shoal_core.errors import DataCorrupt
from shoal_core.objects import FRAME_BYTES


async def frames_of(body: AsyncIterator[bytes]) -> AsyncIterator[Frame]:
    """The body in frames that are full but for the last, so that small pieces do not cost a message each."""
    offset = 0
    async for data in pieces_of_frame_size(body):
        yield Frame(offset=offset, data=data, crc32c=crc32c(data))
        offset += len(data)


async def pieces_of_frame_size(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    pending: list[bytes] = []
    pending_bytes = 0
    async for piece in body:
        pending.append(piece)
        pending_bytes += len(piece)
        if pending_bytes < FRAME_BYTES:
            continue
        joined = pending[0] if len(pending) == 1 else b"".join(pending)
        whole = pending_bytes - pending_bytes % FRAME_BYTES
        for start in range(0, whole, FRAME_BYTES):
            yield joined[start : start + FRAME_BYTES]
        pending = [joined[whole:]]
        pending_bytes -= whole
    if pending_bytes:
        yield b"".join(pending)


def checked_data(frame: Frame, *, expected_offset: int, source: str) -> bytes:
    """The bytes of a received frame. Raises DataCorrupt for any that are not those that were sent."""
    if frame.offset != expected_offset:
        raise DataCorrupt(
            f"{source} arrived out of order: byte {frame.offset} instead of {expected_offset}; read it again"
        )
    if crc32c(frame.data) != frame.crc32c:
        raise DataCorrupt(
            f"{source} was damaged on the way at byte {frame.offset}: CRC32C differs; read it again"
        )
    return frame.data
