"""How far the other processes are: which revision of etcd each has applied, by its own word in `alive/`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from shoal_core.errors import ControlPlaneDown
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.membership import ALIVE_PREFIX, decode_alive
from shoal_core.telemetry import get_logger

OBSERVATION_SECONDS_MAX = 2.0
"""A change returns after this time even if a member has not reported it: one that hangs must not stop all."""


class Observers:
    """Waits until a change is known everywhere, so that its effect is there when the caller hears of it."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def wait_for(self, revision: int, *, seconds_max: float = OBSERVATION_SECONDS_MAX) -> bool:
        """Until every living member has applied `revision`; False when some have not in time."""
        deadline = monotonic() + seconds_max
        while behind := self.behind(revision):
            try:
                seen = self._mirror.revision
                await self._mirror.wait_for_revision(seen + 1, max(0.0, deadline - monotonic()))
            except ControlPlaneDown:
                get_logger().warning("members-behind", revision=revision, members=behind)
                return False
        return True

    def behind(self, revision: int) -> list[str]:
        """Living members that have not reported `revision`."""
        return sorted(
            key.removeprefix(ALIVE_PREFIX)
            for key, item in self._mirror.items.items()
            if decode_alive(item.value).observed < revision
        )


@asynccontextmanager
async def open_observers(etcd: EtcdClient) -> AsyncIterator[Observers]:
    async with Mirror(etcd, ALIVE_PREFIX) as mirror:
        yield Observers(mirror)
