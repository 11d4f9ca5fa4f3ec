"""The objects of all targets as one of them sees them: its own without a detour, the others' over gRPC."""

from __future__ import annotations

from collections.abc import Sequence

import grpc.aio

from shoal_archive.batch import Item, Streams
from shoal_client.batch import streams_of
from shoal_client.remote import RemoteObjectStore
from shoal_client.routed import RoutedObjectStore
from shoal_core.cluster_map import Member
from shoal_core.membership import ClusterView
from shoal_core.multipart import MultipartStore
from shoal_core.rpc import Channels
from shoal_store.engine import Engine

REFRESH_SECONDS_MAX = 2.0


class Others:
    """`store` is the whole cluster."""

    def __init__(self, view: ClusterView, channels: Channels, engine: Engine) -> None:
        self._view = view
        self._channels = channels
        self._engine = engine
        self.store = RoutedObjectStore(lambda: view.current, self._store_of, refresh=self._refresh)

    def batches(self, items: Sequence[Item]) -> Streams | None:
        """`shoal_archive.batch.Elsewhere`."""
        return streams_of(items, self._view.current, self._channel_of)

    def _channel_of(self, target: Member) -> grpc.aio.Channel | None:
        if target.id == self._engine.target:
            return None
        return self._channels.get(target.internal_address)

    def _store_of(self, target: Member) -> MultipartStore:
        channel = self._channel_of(target)
        if channel is None:
            return self._engine.store
        return RemoteObjectStore(channel, peer=target.id, epoch=lambda: self._view.current.placement_epoch)

    async def _refresh(self) -> None:
        await self._view.refresh(REFRESH_SECONDS_MAX)
