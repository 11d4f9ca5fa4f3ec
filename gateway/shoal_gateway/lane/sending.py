"""Files to a socket by `sendfile`: the kernel moves the bytes, a turn of the event loop at a time.

The socket is used beside uvloop's transport, only while the transport has nothing of its own to send; a full socket is
waited for on a duplicate of its descriptor, because uvloop refuses to watch a transport's own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import msgspec

from shoal_core.patience import PROGRESS_BYTES_MIN
from shoal_gateway.unsent import unsent_in_kernel
from shoal_store.durability import close_read
from shoal_store.ready import READY_BYTES, FileRange, close_files, is_cached

TURN_BYTES = READY_BYTES
"""Sent of one body before others get their turn, which takes less than a millisecond."""
READ_BYTES = 1 << 20
"""Read ahead at once."""


class Body(msgspec.Struct):
    """What is left to send: of the head, and of the files, in order. All is sent when there is no file left."""

    head: bytes
    files: list[FileRange]

    def send(self, connection: socket.socket, budget: int) -> int:
        """At most `budget` bytes of the first file, the head before them; the number of bytes of the file.

        Raises BlockingIOError when the socket is full, OSError when it is gone or the file came short.
        """
        while self.head:
            # The head waits in the kernel for the first bytes of the body, so that they share a packet.
            self.head = self.head[connection.send(self.head, socket.MSG_MORE) :]
        file = self.files[0]
        offset, end = file.offset, file.end
        sent = os.sendfile(connection.fileno(), file.descriptor, offset, min(end - offset, budget))
        if not sent:
            raise OSError("the file is shorter than its record says")
        file.offset = offset + sent
        if file.offset == end:
            close_read(file.descriptor)
            del self.files[0]
        return sent

    def close(self) -> None:
        close_files(self.files)
        self.files = []


class FileSender:
    """A body that does not fit into the socket. `on_end` is told whether all of it went out; no file is open then."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        body: Body,
        *,
        idle_timeout_seconds: float,
        on_end: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._body = body
        self._idle_timeout_seconds = idle_timeout_seconds
        self._on_end = on_end
        self._read_until = 0
        """Of the current file, what was read ahead."""
        self._watching = False
        self._reading: asyncio.Future[None] | None = None
        self._moved = 0
        """Bytes given to the kernel, those included that it still had at the last look at the progress."""
        self._ended = False
        self._timer = loop.call_later(idle_timeout_seconds, self._check_progress)
        self._watch()

    def cancel(self) -> None:
        """The connection has gone."""
        self._end(whole=False)

    def _turn(self) -> None:
        budget = TURN_BYTES
        try:
            while self._body.files and budget > 0:
                file = self._body.files[0]
                end = min(file.end, file.offset + budget)
                # What was just read ahead is sent without another look, so that there is always progress.
                if end > self._read_until and not is_cached(file.descriptor, file.offset, end):
                    return self._read_ahead(file, end)
                sent = self._body.send(self._connection, budget)
                budget -= sent
                self._moved += sent
                if file.offset < end:
                    return  # the socket is full
                if end == file.end:
                    self._read_until = 0
        except BlockingIOError:
            return
        except OSError:
            return self._end(whole=False)
        if not self._body.files:
            self._end(whole=True)

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.add_writer(self._connection.fileno(), self._turn)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_writer(self._connection.fileno())

    def _read_ahead(self, file: FileRange, end: int) -> None:
        """From the disk into memory, in a thread."""
        self._unwatch()
        self._read_until = end
        descriptor, count = os.dup(file.descriptor), end - file.offset
        self._reading = asyncio.ensure_future(asyncio.to_thread(read_all, descriptor, file.offset, count))
        self._reading.add_done_callback(self._read)

    def _read(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if self._ended:
            reading.cancelled() or reading.exception()
        elif reading.cancelled() or reading.exception() is not None:
            self._end(whole=False)
        else:
            # A disk that is slow is not the client's fault.
            self._moved += PROGRESS_BYTES_MIN
            self._watch()

    def _check_progress(self) -> None:
        """A client that takes next to nothing for the idle time is cut off; one that is slow and steady is not."""
        unsent = unsent_in_kernel(self._connection.fileno())
        if self._moved - unsent < PROGRESS_BYTES_MIN:
            return self._end(whole=False)
        self._moved = unsent
        self._timer = self._loop.call_later(self._idle_timeout_seconds, self._check_progress)

    def _end(self, *, whole: bool) -> None:
        if self._ended:
            return
        self._ended = True
        self._unwatch()
        self._timer.cancel()
        self._body.close()
        self._on_end(whole)


def read_all(descriptor: int, offset: int, count: int) -> None:
    """Blocks. Closes the descriptor."""
    try:
        while count > 0 and (piece := os.pread(descriptor, min(count, READ_BYTES), offset)):
            offset, count = offset + len(piece), count - len(piece)
    finally:
        os.close(descriptor)
