"""Objects for plain stubs: the proxy finds the owner by the map and passes the streams through."""

from __future__ import annotations

from collections.abc import Sequence

from shoal_archive.batch import Item, Streams
from shoal_client.batch import streams_of
from shoal_client.remote import RemoteObjectStore
from shoal_client.routed import RoutedObjectStore
from shoal_core.cluster_map import Member
from shoal_core.membership import ClusterView
from shoal_core.multipart import MultipartStore
from shoal_core.rpc import Channels

REFRESH_SECONDS_MAX = 2.0


class Relay:
    """`store` is the whole cluster; its targets are called as one node calls another."""

    def __init__(self, view: ClusterView, channels: Channels) -> None:
        self._view = view
        self._channels = channels
        self.store = RoutedObjectStore(lambda: view.current, self._store_of, refresh=self._refresh)

    def batches(self, items: Sequence[Item]) -> Streams | None:
        """`shoal_archive.batch.Elsewhere`: everything is."""
        return streams_of(
            items, self._view.current, lambda target: self._channels.get(target.internal_address)
        )

    def _store_of(self, target: Member) -> MultipartStore:
        return RemoteObjectStore(
            self._channels.get(target.internal_address), peer=target.id, epoch=self._epoch
        )

    def _epoch(self) -> int:
        return self._view.current.placement_epoch

    async def _refresh(self) -> None:
        await self._view.refresh(REFRESH_SECONDS_MAX)

    async def follow(self) -> None:
        """Drop connections to addresses that members had before they were started anew."""
        while True:
            seen = self._view.current
            await self._channels.retain({target.internal_address for target in seen.targets})
            if self._view.current is seen:
                await self._view.changed()
