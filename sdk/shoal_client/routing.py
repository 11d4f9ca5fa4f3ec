"""Which target a request goes to, by the current map.

A target that has a newer placement answers StaleEpoch; then the map is fetched anew and the request sent once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.errors import StaleEpoch, Unavailable
from shoal_core.multipart import MultipartStore
from shoal_core.names import checked_object_name
from shoal_core.objects import Bucket

T = TypeVar("T")


class CurrentMap:
    """`refresh` returns after `cluster_map()` gives a map fetched since the call."""

    def __init__(
        self,
        cluster_map: Callable[[], ClusterMap],
        store_of: Callable[[Member], MultipartStore],
        *,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._cluster_map = cluster_map
        self._store_of = store_of
        self._refresh = refresh

    def _owner(self, bucket: Bucket, name: str) -> MultipartStore:
        return self._store_of(self._member(bucket, name))

    def _member(self, bucket: Bucket, name: str) -> Member:
        return self._cluster_map().target_of(bucket.id, checked_object_name(name))

    def _targets(self) -> Sequence[Member]:
        targets = self._cluster_map().targets
        if not targets:
            raise Unavailable("no target has joined the cluster yet, so there is nothing to list: start one")
        return targets

    async def _with_current_map(
        self, attempt: Callable[[], Awaitable[T]], *, repeatable: Callable[[], bool] = lambda: True
    ) -> T:
        try:
            return await attempt()
        except StaleEpoch:
            if self._refresh is None or not repeatable():
                raise
        await self._refresh()
        return await attempt()


async def all_of(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results. The first failure cancels the other calls and waits for their end: none outlives us."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
