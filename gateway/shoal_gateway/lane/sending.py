"""Files to a socket by `sendfile`: the kernel moves the bytes, a turn of the event loop at a time.

The socket is used beside uvloop's transport, only while the transport has nothing of its own to send; a full socket is
waited for on a duplicate of its descriptor, because uvloop refuses to watch a transport's own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

from shoal_store.ready import FileRange, close_files, is_cached

TURN_BYTES = 1 << 20
"""Sent of one body before others get their turn."""


class FileSender:
    """The head, and then the files. `on_end` is told whether all of it went out; nothing is open any more then."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        files: Sequence[FileRange],
        *,
        idle_timeout_seconds: float,
        on_end: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._files = list(files)
        self._idle_timeout_seconds = idle_timeout_seconds
        self._on_end = on_end
        self._head = b""
        self._read_until = 0
        """Of the current file, what was read ahead."""
        self._watching = False
        self._reading: asyncio.Future[None] | None = None
        self._moved = False
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def start(self, head: bytes) -> None:
        self._head = head
        self._turn()
        if not self._ended:
            self._timer = self._loop.call_later(self._idle_timeout_seconds, self._check_progress)

    def cancel(self) -> None:
        """The connection has gone."""
        self._end(whole=False)

    def _turn(self) -> None:
        if self._ended:
            return
        budget = TURN_BYTES
        try:
            self._send_head()
            while self._files and budget > 0:
                file = self._files[0]
                count = min(file.end - file.offset, budget)
                end = file.offset + count
                # What was just read ahead is sent without another look, so that there is always progress.
                if end > self._read_until and not is_cached(file.descriptor, file.offset, end):
                    return self._read_ahead(file, count)
                sent = os.sendfile(self._connection.fileno(), file.descriptor, file.offset, count)
                if not sent:
                    return self._end(whole=False)
                self._moved = True
                budget -= sent
                file.offset += sent
                if file.offset == file.end:
                    close_files([self._files.pop(0)])
                    self._read_until = 0
        except BlockingIOError:
            return self._watch()
        except OSError:
            return self._end(whole=False)
        if self._files:
            return self._watch()
        self._end(whole=True)

    def _send_head(self) -> None:
        while self._head:
            # The head waits in the kernel for the first bytes of the body, so that they share a packet.
            sent = self._connection.send(self._head, socket.MSG_MORE)
            self._head = self._head[sent:]

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.add_writer(self._connection.fileno(), self._turn)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_writer(self._connection.fileno())

    def _read_ahead(self, file: FileRange, count: int) -> None:
        """From the disk into memory, in a thread."""
        self._unwatch()
        self._read_until = file.offset + count
        descriptor = os.dup(file.descriptor)
        self._reading = asyncio.ensure_future(asyncio.to_thread(read_all, descriptor, file.offset, count))
        self._reading.add_done_callback(self._read)

    def _read(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if self._ended:
            reading.cancelled() or reading.exception()
        elif reading.cancelled() or reading.exception() is not None:
            self._end(whole=False)
        else:
            self._moved = True
            self._watch()

    def _check_progress(self) -> None:
        """A client that takes nothing for the idle time is cut off."""
        self._timer = None
        if self._ended:
            return
        if not self._moved:
            return self._end(whole=False)
        self._moved = False
        self._timer = self._loop.call_later(self._idle_timeout_seconds, self._check_progress)

    def _end(self, *, whole: bool) -> None:
        if self._ended:
            return
        self._ended = True
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        close_files(self._files)
        self._files = []
        self._on_end(whole)


def read_all(descriptor: int, offset: int, count: int) -> None:
    """Blocks. Closes the descriptor."""
    try:
        while count > 0 and (piece := os.pread(descriptor, min(count, TURN_BYTES), offset)):
            offset, count = offset + len(piece), count - len(piece)
    finally:
        os.close(descriptor)
