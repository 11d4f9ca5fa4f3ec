"""Pieces of an answer, given to the socket as they are: the kernel makes the only copy.

As in `lane/sending.py`, the socket is used beside uvloop's transport, only while the transport has nothing of its own
to send, under a descriptor of our own.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from shoal_core.objects import BodyBytes
from shoal_gateway.exchange import client_gone_in_answer

Clear: TypeAlias = Callable[[], Awaitable[None]]
"""Waits until the transport has nothing to send. Raises ClientGone."""
CHUNK_BYTES = 256 << 10
"""Of a body whose length was not announced. Clients take memory for a chunk at once, and megabytes cost them more."""
RUN_PIECES_MAX = 256
"""Given to the kernel in one call; more are so small that putting them together costs less."""


class PieceSending:
    """One write. `send` may be given up while it waits, and called again: it goes on where it was."""

    def __init__(
        self,
        connection: socket.socket,
        pieces: Sequence[BodyBytes],
        *,
        is_clear: Callable[[], bool],
        clear: Clear,
    ) -> None:
        """`is_clear`: whether the transport has nothing to send."""
        self._connection = connection
        self._left = deque(in_chunks(pieces))
        self._is_clear = is_clear
        self._clear = clear
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None
        self._is_lost = False

    @property
    def left(self) -> int:
        """Bytes that the kernel does not have yet."""
        return sum(sum(map(len, run)) for run in self._left)

    def sent_at_once(self) -> bool:
        """Gives the kernel what it takes without a wait, once the transport has nothing to send. True when that is all,
        as it is for clients that keep up; it spares them the price of a deadline. Raises as `send`."""
        return self._is_clear() and self._sent()

    async def send(self) -> None:
        """Returns once the kernel has all. Raises ClientGone."""
        await self._clear()
        while not self._sent():
            await self._wait()

    def lose(self) -> None:
        """The connection has gone, and its descriptor will be closed."""
        self._is_lost = True
        self._wake()

    def _sent(self) -> bool:
        """Whether all went; else the socket is full."""
        try:
            while self._left:
                if self._is_lost:
                    raise client_gone_in_answer()
                run = self._left[0]
                if rest := after(run, self._connection.sendmsg(run)):
                    self._left[0] = rest
                else:
                    self._left.popleft()
        except BlockingIOError:
            return False
        except OSError as error:
            raise client_gone_in_answer() from error
        return True

    async def _wait(self) -> None:
        self._writable = self._loop.create_future()
        self._loop.add_writer(self._connection.fileno(), self._wake)
        try:
            await self._writable
        finally:
            self._wake()

    def _wake(self) -> None:
        """Watches the descriptor no longer: once it is closed, its number may be somebody else's."""
        writable, self._writable = self._writable, None
        if writable is not None:
            self._loop.remove_writer(self._connection.fileno())
            if not writable.done():
                writable.set_result(None)


def in_chunks(pieces: Sequence[BodyBytes]) -> list[list[BodyBytes]]:
    """As HTTP frames them; each is given to the kernel at once."""
    found: list[list[BodyBytes]] = []
    chunk: list[BodyBytes] = []
    size = 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            found.append(framed(chunk, size))
            chunk, size = [], 0
    return [*found, framed(chunk, size)] if size else found


def framed(chunk: list[BodyBytes], size: int) -> list[BodyBytes]:
    if len(chunk) > RUN_PIECES_MAX:
        chunk = [b"".join(chunk)]
    return [b"%x\r\n" % size, *chunk, b"\r\n"]


def after(run: list[BodyBytes], sent: int) -> list[BodyBytes]:
    """What of these is left when so many bytes have gone."""
    for number, piece in enumerate(run):
        if sent < len(piece):
            return [piece[sent:], *run[number + 1 :]]
        sent -= len(piece)
    return []
