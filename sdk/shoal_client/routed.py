"""`RoutedObjectStore`: the whole cluster as one `ObjectStore`; each name goes to the target that owns it.

It knows neither gRPC nor disks: `store_of` gives the way to a member. See `routing` for stale maps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from shoal_client.merge import page_of_all
from shoal_client.replay import ReplayableBody
from shoal_client.routed_uploads import RoutedUploads
from shoal_client.routing import all_of
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    ListPage,
    ListQuery,
    ObjectBody,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)

T = TypeVar("T")


class RoutedObjectStore(RoutedUploads):
    """Objects of all targets, as a whole; its base has them in parts."""

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
            stores = [self._store_of(target) for target in self._targets()]
            return await page_of_all(
                lambda part: all_of([store.list(bucket, part) for store in stores]), len(stores), query
            )

        return await self._with_current_map(attempt)
