"""Work at a bounded rate, for what runs in the background and must leave disks and processor to users."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]


class Pace:
    """At most `per_second` units in the long run. Idle time is not saved up beyond the next piece of work."""

    def __init__(
        self, per_second: float, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        assert per_second > 0, "a pace of nothing would never end"
        self._per_second = per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    async def spend(self, amount: float) -> None:
        """After `amount` units of work: waits until they would have been done since the last time at this pace."""
        now = self._clock()
        self._free_at = max(self._free_at + amount / self._per_second, now)
        if self._free_at > now:
            await self._sleep(self._free_at - now)
