"""The cluster map for clients that find the owner of an object by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from shoal.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap
from shoal_core.membership import ClusterView
from shoal_core.rpc import Context


class ClusterServicer(cluster_pb2_grpc.ClusterServiceServicer):
    """Maps of `view`. Watches end once `stopping` is set."""

    def __init__(self, view: ClusterView, *, stopping: asyncio.Event) -> None:
        self._view = view
        self._stopping = stopping

    async def GetClusterMap(
        self, request: cluster_pb2.GetClusterMapRequest, context: Context
    ) -> cluster_pb2.GetClusterMapResponse:
        return cluster_pb2.GetClusterMapResponse(
            cluster_map=messages.cluster_map_to_message(self._view.current)
        )

    async def WatchClusterMap(
        self, request: cluster_pb2.WatchClusterMapRequest, context: Context
    ) -> AsyncIterator[cluster_pb2.WatchClusterMapResponse]:
        sent: ClusterMap | None = None
        while not self._stopping.is_set():
            if self._view.current is not sent:
                sent = self._view.current
                yield cluster_pb2.WatchClusterMapResponse(cluster_map=messages.cluster_map_to_message(sent))
                continue
            await first_of(self._view.changed(), self._stopping.wait())


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Until one of them is done; the others are given up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
