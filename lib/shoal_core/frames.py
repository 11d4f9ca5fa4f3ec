"""Frames over a Unix socket: a length (u32, big-endian) and that many bytes, either way, for two processes of a host.

For what is said thousands of times a second: gRPC carries a message through three threads of each process, and the
waiting for them takes longer than all the rest of a small write.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

LENGTH = struct.Struct(">I")
FRAME_BYTES_MAX = 16 << 20


def commit_socket_of(unix_socket: Path) -> Path:
    """Of a target's commits, beside its gRPC socket, with a path that is no longer: such paths end at 107 bytes."""
    return unix_socket.with_suffix(".rows")


class Frames(asyncio.Protocol):
    """One end of a connection. `on_frame` must not raise; a frame that is too long ends the connection."""

    transport: asyncio.Transport

    def __init__(self, on_frame: Callable[[bytes], None]) -> None:
        self._on_frame = on_frame
        self._came = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's has all that a Transport has, and is none.
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def send(self, frame: bytes) -> None:
        """Does not wait: both sides bound what they have on the way."""
        self.transport.write(LENGTH.pack(len(frame)) + frame)

    def data_received(self, data: bytes) -> None:
        came = self._came
        came += data
        start = 0
        while len(came) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(came, start)
            if length > FRAME_BYTES_MAX:
                return self.transport.abort()
            end = start + LENGTH.size + length
            if len(came) < end:
                break
            self._on_frame(bytes(memoryview(came)[start + LENGTH.size : end]))
            start = end
        if start:
            del came[:start]
