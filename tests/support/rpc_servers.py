"""Services that do what a test says, behind the gate of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc.aio

from shoal.chunk.v1 import chunk_pb2, chunk_pb2_grpc
from shoal.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from shoal_core.rpc import Channels, Context, current_principal

Behaviour = Callable[[], Awaitable[None]]
Start = Callable[..., Awaitable[str]]
GetMap = grpc.aio.UnaryUnaryMultiCallable[cluster_pb2.GetClusterMapRequest, cluster_pb2.GetClusterMapResponse]
Raw = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
REQUEST = cluster_pb2.GetClusterMapRequest()


class ClusterServicer(cluster_pb2_grpc.ClusterServiceServicer):
    """Does what the test says, and answers who called."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour
        self.calls = 0
        self.ended = asyncio.Event()

    async def GetClusterMap(
        self, request: cluster_pb2.GetClusterMapRequest, context: Context
    ) -> cluster_pb2.GetClusterMapResponse:
        self.calls += 1
        if self.behaviour is not None:
            await self.behaviour()
        return cluster_pb2.GetClusterMapResponse(
            cluster_map=cluster_pb2.ClusterMap(cluster_id=current_principal().name)
        )

    async def WatchClusterMap(
        self, request: cluster_pb2.WatchClusterMapRequest, context: Context
    ) -> AsyncIterator[cluster_pb2.WatchClusterMapResponse]:
        try:
            yield cluster_pb2.WatchClusterMapResponse()
            if self.behaviour is not None:
                await self.behaviour()
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def SetMemberState(
        self, request: cluster_pb2.SetMemberStateRequest, context: Context
    ) -> cluster_pb2.SetMemberStateResponse:
        return cluster_pb2.SetMemberStateResponse()

    async def GetSettings(
        self, request: cluster_pb2.GetSettingsRequest, context: Context
    ) -> cluster_pb2.GetSettingsResponse:
        return cluster_pb2.GetSettingsResponse()

    async def UpdateSettings(
        self, request: cluster_pb2.UpdateSettingsRequest, context: Context
    ) -> cluster_pb2.UpdateSettingsResponse:
        return cluster_pb2.UpdateSettingsResponse()


class ChunkServicer(chunk_pb2_grpc.ChunkServiceServicer):
    async def Commit(
        self, request_iterator: AsyncIterator[chunk_pb2.CommitRequest], context: Context
    ) -> AsyncIterator[chunk_pb2.CommitResponse]:
        async for _ in request_iterator:
            yield chunk_pb2.CommitResponse()


class OneCommit(ChunkServicer):
    """Ends the call after one message, whatever else the caller has to say."""

    async def Commit(
        self, request_iterator: AsyncIterator[chunk_pb2.CommitRequest], context: Context
    ) -> AsyncIterator[chunk_pb2.CommitResponse]:
        await anext(request_iterator)
        yield chunk_pb2.CommitResponse()


def get_map(channels: Channels, address: str) -> GetMap:
    return cluster_pb2_grpc.ClusterServiceStub(channels.get(address)).GetClusterMap
