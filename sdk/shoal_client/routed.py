"""`RoutedObjectStore`: the whole cluster as one `ObjectStore`; each name goes to the target that owns it.

It knows neither gRPC nor disks: `store_of` gives the way to a member. A target that has a newer placement
answers StaleEpoch; then the map is fetched anew and the request sent once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from shoal_client.merge import merged_page
from shoal_client.replay import ReplayableBody
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.errors import StaleEpoch, Unavailable
from shoal_core.names import checked_object_name
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    ListPage,
    ListQuery,
    ObjectBody,
    ObjectInfo,
    ObjectStore,
    Preconditions,
    PutRequest,
    RangeRequest,
)

T = TypeVar("T")


class RoutedObjectStore:
    """Objects of all targets. `refresh` returns after `cluster_map()` gives a map fetched since the call."""

    def __init__(
        self,
        cluster_map: Callable[[], ClusterMap],
        store_of: Callable[[Member], ObjectStore],
        *,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._cluster_map = cluster_map
        self._store_of = store_of
        self._refresh = refresh

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        replay = ReplayableBody(body)

        async def attempt() -> ObjectInfo:
            return await self._owner(bucket, request.name).put(bucket, request, replay.chunks())

        return await self._with_current_map(attempt, repeatable=lambda: replay.replayable)

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectBody:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).open(bucket, name, range=range, preconditions=preconditions)
        )

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).head(bucket, name, preconditions=preconditions)
        )

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).delete(bucket, name, preconditions=preconditions)
        )

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        """One page over all targets; any target that does not answer fails it, so it never comes short."""

        async def attempt() -> ListPage:
            targets = self._targets()
            pages = await all_of([self._store_of(target).list(bucket, query) for target in targets])
            return merged_page(pages, query)

        return await self._with_current_map(attempt)

    def _owner(self, bucket: Bucket, name: str) -> ObjectStore:
        return self._store_of(self._cluster_map().target_of(bucket.id, checked_object_name(name)))

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
