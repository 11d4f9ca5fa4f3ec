"""The body of one of the lane's writes while it comes, packet by packet; whole, or given up, it ends here.

Small bodies come in a packet or two, as the event loop reads them. Of larger ones the kernel is asked to say nothing
until they are complete, and their bytes go from the socket to where the disk and the checksums take them, without a
copy between.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from shoal_gateway.lane.requests import LaneRequest

AWAITED_BYTES_MIN = 32 << 10
"""Less than this comes in a packet or two anyway."""
SECONDS_MAX = 1.0
"""A client that takes longer is left to the ordinary path, which has deadlines for slow and steady ones."""
KEPT_BYTES_MIN = 128 << 10
"""Memory for larger bodies is kept for the next: its pages cost more than all the rest of receiving."""
KEPT_MAX = 8


class BodyMemory:
    """Of one worker: what bodies are gathered in."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """At least so many bytes."""
        if size < KEPT_BYTES_MIN:
            return bytearray(size)
        return self._kept.pop() if self._kept else bytearray(self._bytes_max)

    def give_back(self, memory: bytearray) -> None:
        if len(memory) == self._bytes_max and len(self._kept) < KEPT_MAX:
            self._kept.append(memory)


class Gathering:
    """`request.body` has all of it once `is_whole`. `end` is called when nobody reads that any more."""

    def __init__(
        self,
        request: LaneRequest,
        head: bytes,
        connection: socket.socket,
        memory: BodyMemory,
        *,
        on_slow: Callable[[], None],
    ) -> None:
        self._head = head
        self._connection = connection
        self._memory = memory
        self._bytes = memory.take(request.size)
        self._view = memoryview(self._bytes)[: request.size]
        self._filled = 0
        self._awaited = 1
        """Bytes, before the kernel tells the event loop of any."""
        self._timer = asyncio.get_running_loop().call_later(SECONDS_MAX, on_slow)
        self.request = request

    @property
    def is_whole(self) -> bool:
        return not self.left

    @property
    def left(self) -> int:
        return self.request.size - self._filled

    def add(self, data: bytes) -> bytes:
        """What the event loop has read; returns what does not belong to this body."""
        came, beyond = data[: self.left], data[self.left :]
        self._view[self._filled : self._filled + len(came)] = came
        self._filled += len(came)
        if not self.is_whole:
            self._receive()
        if self.is_whole:
            self._stop_waiting()
            self.request.body = self._view
        return beyond

    def _receive(self) -> None:
        """What the kernel has, and the event loop has not read yet."""
        if self.left >= AWAITED_BYTES_MIN:
            try:
                self._filled += self._connection.recv_into(self._view[self._filled :])
            except OSError:
                """There is nothing yet, or the connection is gone, of which the event loop will hear."""
        # Every time: the kernel also tells of less, when its buffer is full, and must not wait for more than there is.
        self._await_bytes(self.left if self.left >= AWAITED_BYTES_MIN else 1)

    def as_it_came(self) -> bytes:
        """For the ordinary path."""
        return self._head + self._view[: self._filled]

    def end(self) -> None:
        self._stop_waiting()
        self.request.body = b""
        self._view.release()
        self._memory.give_back(self._bytes)

    def _stop_waiting(self) -> None:
        self._timer.cancel()
        self._await_bytes(1)

    def _await_bytes(self, count: int) -> None:
        if count == self._awaited:
            return
        self._awaited = count
        try:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        except OSError:
            """The connection is gone."""
