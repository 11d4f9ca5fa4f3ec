"""`RoutedObjectStore`: the whole cluster as one `ObjectStore`; each name goes to the target that owns it.

It knows neither gRPC nor disks: `store_of` gives the way to a member. See `routing` for stale maps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

from shoal_client.merge import page_of_all
from shoal_client.replay import ReplayableBody
from shoal_client.routed_uploads import RoutedUploads
from shoal_client.routing import all_of
from shoal_core.cluster_map import Member
from shoal_core.copying import copy_bytes
from shoal_core.errors import MemberNotFound
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    CopyRequest,
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

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        """Within one target its own affair; else the bytes go from one to the other through this process."""

        async def attempt() -> ObjectInfo:
            source = self._member(request.source, request.source_name)
            destination = self._member(bucket, request.name)
            store = self._store_of(destination)
            if source.id == destination.id:
                return await store.copy(bucket, request)
            return await copy_bytes(self._store_of(source), store, bucket, request)

        return await self._with_current_map(attempt)

    async def annotate(
        self,
        bucket: Bucket,
        name: str,
        metadata: Mapping[str, str],
        *,
        replace: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectInfo:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).annotate(
                bucket, name, metadata, replace=replace, preconditions=preconditions
            )
        )

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        """One page over all targets; any target that does not answer fails it, so it never comes short."""

        async def attempt() -> ListPage:
            stores = [self._store_of(target) for target in self._listed_targets(query)]
            return await page_of_all(
                lambda part: all_of([store.list(bucket, part) for store in stores]), len(stores), query
            )

        return await self._with_current_map(attempt)

    def _listed_targets(self, query: ListQuery) -> Sequence[Member]:
        targets = self._targets()
        if not query.target:
            return targets
        found = [target for target in targets if target.id == query.target]
        if not found:
            raise MemberNotFound(f"there is no target {query.target[:64]!r} in this cluster")
        return found
