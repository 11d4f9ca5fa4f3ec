"""Whether looking into the indexes is likely to wait for a disk, learnt from the page faults of the looks so far.

LMDB reads through a memory map: a page that is not in memory is fetched while the looking thread stands still, and with
it, on the event loop, everybody's request. So after a look that had to wait, all looks go through threads for a while;
the while doubles as long as they still have to wait there. One look in each while may stand still, not more.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TypeVar

from shoal_store.threads import in_thread

T = TypeVar("T")

PAUSE_SECONDS_MIN = 0.1
PAUSE_SECONDS_MAX = 3.2
WATCHFUL_SECONDS = 10.0
"""After a wait, how long every single look is checked; at other times one of CHECK_EVERY is, since checking costs."""
CHECK_EVERY = 16


class Warmth:
    """Of the indexes as one event loop sees them."""

    def __init__(
        self, waits: Callable[[], int] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`waits` counts those of the calling thread so far."""
        self._waits = waits or waits_of_thread
        self._clock = clock
        self._known = self._waits()
        self._cold_until = 0.0
        self._watchful_until = 0.0
        self._pause_seconds = PAUSE_SECONDS_MIN
        self._unchecked = 0

    @property
    def is_warm(self) -> bool:
        return not self._cold_until or self._clock() >= self._cold_until

    async def look(self, function: Callable[[], T]) -> T:
        """What `function` finds, on the loop or in a thread."""
        if self.is_warm:
            try:
                return function()
            finally:
                self.looked()
        found, waited = await in_thread(self._watched, function)
        if waited:
            self._cool()
        return found

    def looked(self) -> None:
        """After each look on the loop."""
        self._unchecked += 1
        if self._unchecked < CHECK_EVERY and not self._watchful_until:
            return
        self._unchecked = 0
        before, self._known = self._known, self._waits()
        if self._known > before:
            self._cool()
        elif self._watchful_until and self._clock() > self._watchful_until:
            self._watchful_until, self._pause_seconds = 0.0, PAUSE_SECONDS_MIN

    def _watched(self, function: Callable[[], T]) -> tuple[T, bool]:
        before = self._waits()
        found = function()
        return found, self._waits() > before

    def _cool(self) -> None:
        now = self._clock()
        if now >= self._cold_until:
            # Cold again after a while of threads: the next while is longer.
            self._cold_until = now + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, PAUSE_SECONDS_MAX)
        self._watchful_until = now + WATCHFUL_SECONDS


def waits_of_thread() -> int:
    """Page faults of the calling thread that had to read from a disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
