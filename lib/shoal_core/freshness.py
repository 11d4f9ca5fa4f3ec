"""Whether this process may go by what it knows of the cluster: once it stood still, not until it has asked.

A watch brings changes as they happen, but to a process that stood still (SIGSTOP, a suspended machine) all of them at
once, and a request may come before them. So everybody who answers by the map or the buckets looks here first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shoal_core.errors import ControlPlaneDown
from shoal_core.host import boottime_seconds
from shoal_core.telemetry import get_logger

PAUSE_SECONDS_MAX = 2.0
"""Changes of buckets wait so long for a member that does not answer."""
LOOK_SECONDS = 0.5
ATTEMPTS_MAX = 12
"""At catching up. A connection that was idle for so long is often lost, and a watch needs a moment to begin anew, so a
failure or two say nothing of etcd: at least 6 seconds pass before it is taken to be away, and at most 40."""


class Freshness:
    """Run `keep` as a task. `catch_up` returns when all is known that was decided before its call."""

    def __init__(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        self._catch_up = catch_up
        self._looked = boottime_seconds()
        self._caught_up = asyncio.Event()

    def holds(self) -> bool:
        return boottime_seconds() - self._looked < PAUSE_SECONDS_MAX

    async def wait(self) -> bool:
        """Until it holds; whether that took any waiting."""
        waited = False
        while not self.holds():
            waited = True
            await self._caught_up.wait()
        return waited

    async def keep(self) -> None:
        self._looked = boottime_seconds()
        while True:
            now = boottime_seconds()
            if (pause := now - self._looked) >= PAUSE_SECONDS_MAX:
                get_logger().warning("stood-still", seconds=round(pause, 1))
                now = await self._known_at()
            self._looked = now
            done, self._caught_up = self._caught_up, asyncio.Event()
            done.set()
            await asyncio.sleep(LOOK_SECONDS)

    async def _known_at(self) -> float:
        """A moment until which all is known. It is before the catching up, during which one may stand still again."""
        for _ in range(ATTEMPTS_MAX):
            began = boottime_seconds()
            try:
                await self._catch_up()
            except ControlPlaneDown:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return began
        # Without etcd there is nothing newer to be known, and reads go on.
        get_logger().warning("goes-on-without-etcd")
        return boottime_seconds()
