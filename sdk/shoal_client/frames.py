"""Bodies on the wire: pieces of any size into those of a frame, at most 1 MiB, and frames back into checked bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crc32c import crc32c

from shoal.object.v1.object_pb2 import Frame
from shoal_core.errors import DataCorrupt
from shoal_core.objects import FRAME_BYTES


async def pieces_of_frame_size(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body in pieces that are full but for the last, so that small ones do not cost a message each."""
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
        pending_bytes -= whole
        # Nothing left is no piece: joined to the next one it would cost a copy.
        pending = [joined[whole:]] if pending_bytes else []
    if pending_bytes:
        yield b"".join(pending)


def checked_data(frame: Frame, *, expected_offset: int, source: str) -> bytes:
    """The bytes of a received frame. Raises DataCorrupt for any that are not those that were sent."""
    if frame.offset != expected_offset:
        raise DataCorrupt(
            f"{source} arrived out of order: byte {frame.offset} instead of {expected_offset}; read it again"
        )
    data = frame.data  # once: each look at the field makes new bytes
    if crc32c(data) != frame.crc32c:
        raise DataCorrupt(
            f"{source} was damaged on the way at byte {frame.offset}: CRC32C differs; read it again"
        )
    return data
