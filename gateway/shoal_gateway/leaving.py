"""A connection that is closed while its client still has to take something: not for ever.

An event loop closes a connection once all is sent, and waits for that without a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LEAVING_SECONDS = 60.0
"""In which a client must take some of its connection's last answer."""


class Leaving:
    """`waiting` tells how many bytes wait in this process, `unsent` how many the client has not taken in all."""

    def __init__(
        self, *, waiting: Callable[[], int], unsent: Callable[[], int], abort: Callable[[], None]
    ) -> None:
        self._waiting = waiting
        self._unsent = unsent
        self._abort = abort
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, unsent_before: int = 0) -> None:
        """From the moment when it is closed."""
        unsent = self._unsent() if self._waiting() else 0
        if unsent and unsent == unsent_before:
            self._abort()
        elif unsent:
            self._timer = asyncio.get_running_loop().call_later(LEAVING_SECONDS, self.watch, unsent)

    def end(self) -> None:
        """It is gone."""
        if self._timer is not None:
            self._timer.cancel()
