"""Requests that came in one turn of the event loop, answered one after the other, and sent when all are answered.

To receive, to answer and to send run through code of their own, the kernel's and the interpreter's, and drive each
other's out of the processor's caches. So each is done for all connections at once: a fifth of a small answer's CPU
where 64 are busy, less where 16 are (decision 9).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from shoal_core.telemetry import get_logger
from shoal_gateway.lane.lane import LaneAnswer

BYTES_MAX = 256 << 10
"""Received and not looked at: more does not wait for the end of the turn."""
ANSWERS_MAX = 32
"""Not sent yet, of up to 32 KiB each, or of open files: the first do not wait for more."""


class Connection(Protocol):
    """One that has at most one request in a turn."""

    def take(self, data: bytes) -> None:
        """Answer it, or see to it that it is answered. What is sent at once is given to `Turn.answered`."""
        ...

    def send(self, answer: LaneAnswer, data: bytes) -> None:
        """`data` is the request, for whoever answers it if this cannot be sent."""
        ...

    def abort(self) -> None: ...


class Turn:
    """Of one worker: the turn that its event loop is in."""

    def __init__(self) -> None:
        self._came: dict[Connection, bytes] = {}
        self._bytes = 0
        self._answers: list[tuple[Connection, LaneAnswer, bytes]] = []

    def add(self, connection: Connection, data: bytes) -> None:
        """What comes of one connection until its request is taken is one piece."""
        came = self._came
        if not came:
            asyncio.get_running_loop().call_soon(self.run)
        came[connection] = came.get(connection, b"") + data
        self._bytes += len(data)
        if self._bytes > BYTES_MAX:
            self.run()

    def answered(self, connection: Connection, answer: LaneAnswer, data: bytes) -> None:
        answers = self._answers
        answers.append((connection, answer, data))
        if len(answers) >= ANSWERS_MAX:
            self._send()

    def run(self) -> None:
        """Now, because the turn is over or because somebody cannot wait for its end."""
        came, self._came, self._bytes = self._came, {}, 0
        for connection, data in came.items():
            try:
                connection.take(data)
            except Exception:
                self._failed(connection)
        self._send()

    def _send(self) -> None:
        answers, self._answers = self._answers, []
        for connection, answer, data in answers:
            try:
                connection.send(answer, data)
            except Exception:
                self._failed(connection)

    def _failed(self, connection: Connection) -> None:
        """A fault of ours ends one connection, as the event loop would have ended it."""
        get_logger().error("internal-error", connection="lane", exc_info=True)
        connection.abort()
