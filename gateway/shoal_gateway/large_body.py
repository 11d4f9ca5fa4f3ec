"""A large body, read from its socket in large pieces, past the parser, on whose way each byte is copied four times."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

LARGE_BYTES_MIN = 256 << 10
"""Less than this goes through the parser as all bodies do."""
PIECE_BYTES_MAX = 1 << 20
AWAITED_BYTES_MAX = 512 << 10
"""The kernel wakes us when so many bytes are there, not for each packet."""


class LargeBody:
    """`left` bytes are still to be received. One reader at a time; `close` is called at any end."""

    def __init__(self, descriptor: int, left: int, *, on_close: Callable[[], None]) -> None:
        self.left = left
        self._loop = asyncio.get_running_loop()
        # The event loop keeps its transport's descriptor to itself, so this is another one of the same connection.
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._on_close = on_close
        self._readable: asyncio.Future[None] | None = None
        self._is_lost = False
        self._is_closed = False
        self._await_bytes(min(left, AWAITED_BYTES_MAX))

    async def receive(self, *, idle_timeout_seconds: float) -> bytes:
        """At most a piece; nothing when the connection ended first. Raises TimeoutError when not one byte came."""
        try:
            async with asyncio.timeout(idle_timeout_seconds):
                while (piece := self._read()) is None:
                    await self._wait()
        except TimeoutError:
            # A slow client may have sent fewer bytes than we asked to be woken for.
            if (piece := self._read()) is None:
                raise
        self.left -= len(piece)
        if self.left < AWAITED_BYTES_MAX:
            self._await_bytes(max(self.left, 1))
        return piece

    def lose(self) -> None:
        """The event loop has closed the connection."""
        self._is_lost = True
        self._wake()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._await_bytes(1)
        self._socket.close()
        self._on_close()

    def _read(self) -> bytes | None:
        """None when there is nothing yet."""
        if self._is_lost or self._is_closed:
            return b""
        try:
            return self._socket.recv(min(self.left, PIECE_BYTES_MAX))
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def _wait(self) -> None:
        self._readable = self._loop.create_future()
        self._loop.add_reader(self._socket, self._wake)
        try:
            await self._readable
        finally:
            self._loop.remove_reader(self._socket)

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _await_bytes(self, count: int) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
