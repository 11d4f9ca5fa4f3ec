"""A connection on which a request was too much: nothing more is read from it until `Retry-After` is over.

A client that repeats at once would else be refused thousands of times a second, and each refusal takes time from those
who are served. Its next request waits in the kernel meanwhile, which costs nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from shoal_core.error_table import RETRY_AFTER_SECONDS

RESTING_SECONDS = float(RETRY_AFTER_SECONDS)


class Reading(Protocol):
    """What is stopped and goes on."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Resting:
    """Of one connection."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """After the refusal is out. A rest that has begun is not made longer."""
        if self._timer is None:
            self._reading.pause_reading()
            self._timer = asyncio.get_running_loop().call_later(RESTING_SECONDS, self._end)

    def cancel(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        self._timer = None
        self._reading.resume_reading()
