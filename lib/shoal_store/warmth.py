"""Whether looking into the indexes is likely to wait for a disk, learnt from the page faults of the looks so far.

LMDB reads through a memory map: a page that is not in memory is fetched while the looking thread stands still, and
with it, on the event loop, everybody's request. So after a look that had to wait, all looks go through threads until so
many in succession did not wait there, or for a while without any. How many doubles each time that was too early. When
most is in memory the loop waits in one look of hundreds, and a page that is cold now and then costs few requests more.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TypeVar

from shoal_store.threads import in_thread

T = TypeVar("T")

WARM_LOOKS_MIN = 64
WARM_LOOKS_MAX = 1024
COLD_SECONDS_MAX = 3.2
"""After the last wait; when few look, nobody counts long."""
WATCHFUL_SECONDS = 10.0
"""After a wait, how long one look of WATCHFUL_CHECK_EVERY is checked; at other times one of CHECK_EVERY, since checking
costs a tenth of what a look does, and all that were made since the last check are checked with it."""
WATCHFUL_CHECK_EVERY = 4
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
        self.cold_until = 0.0
        """0 while all is warm; after that time it is taken to be."""
        self._watchful_until = 0.0
        self._warm_looks_wanted = WARM_LOOKS_MIN
        self._warm_looks_left = 0
        self._looks_until_check = CHECK_EVERY

    @property
    def is_warm(self) -> bool:
        return not self.cold_until or self._clock() >= self.cold_until

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
        else:
            self._count_warm_look()
        return found

    def looked(self) -> None:
        """After each look on the loop."""
        self._looks_until_check -= 1
        if self._looks_until_check > 0:
            return
        self._check()
        self._looks_until_check = WATCHFUL_CHECK_EVERY if self._watchful_until else CHECK_EVERY

    def _check(self) -> None:
        before, self._known = self._known, self._waits()
        if self._known > before:
            if self._watchful_until:
                self._warm_looks_wanted = min(2 * self._warm_looks_wanted, WARM_LOOKS_MAX)
            self._cool()
        elif self._watchful_until and self._clock() > self._watchful_until:
            self._watchful_until, self._warm_looks_wanted = 0.0, WARM_LOOKS_MIN

    def _watched(self, function: Callable[[], T]) -> tuple[T, bool]:
        before = self._waits()
        found = function()
        return found, self._waits() > before

    def _count_warm_look(self) -> None:
        self._warm_looks_left -= 1
        if self._warm_looks_left <= 0:
            self.cold_until = 0.0

    def _cool(self) -> None:
        now = self._clock()
        self._warm_looks_left = self._warm_looks_wanted
        self.cold_until = now + COLD_SECONDS_MAX
        self._watchful_until = now + WATCHFUL_SECONDS
        self._looks_until_check = WATCHFUL_CHECK_EVERY


def waits_of_thread() -> int:
    """Page faults of the calling thread that had to read from a disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
