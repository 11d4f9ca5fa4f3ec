"""`NodeService`: what a proxy or target says of itself, asked by gateways for their users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

import grpc.aio

from shoal.cluster.v1.mountpath_pb2 import MountpathState
from shoal.node.v1 import node_pb2, node_pb2_grpc
from shoal_core import own_log
from shoal_core.cluster_map import MemberState
from shoal_core.errors import NotFound
from shoal_core.messages import STATES
from shoal_core.node_vitals import vitals
from shoal_core.objects import FRAME_BYTES
from shoal_core.rpc import Context
from shoal_core.serving import AddService

NANOSECONDS = 1_000_000_000


class NodeDisks(Protocol):
    """The disks of a target, as the node service shows and changes them."""

    def statuses(self) -> Sequence[node_pb2.MountpathStatus]:
        """Blocks."""
        ...

    async def set_state(self, mountpath: str, state: MountpathState.ValueType) -> None:
        """Raises InvalidArgument, NotFound and Unavailable."""
        ...


class NoDisks:
    def statuses(self) -> Sequence[node_pb2.MountpathStatus]:
        return ()

    async def set_state(self, mountpath: str, state: MountpathState.ValueType) -> None:
        raise NotFound(f"this node has no mountpath {mountpath[:64]!r}: it is no target")


Counters = Callable[[], Mapping[str, int]]
State = Callable[[], MemberState]


def no_counters() -> Mapping[str, int]:
    return {}


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    def __init__(self, state: State, disks: NodeDisks, counters: Counters) -> None:
        self._state = state
        self._disks = disks
        self._counters = counters
        self._zero: Mapping[str, int] = {}
        """What was counted when the counters were set to zero."""

    async def GetNodeStatus(
        self, request: node_pb2.GetNodeStatusRequest, context: Context
    ) -> node_pb2.GetNodeStatusResponse:
        disks = await asyncio.to_thread(self._disks.statuses)
        counters = {name: count - self._zero.get(name, 0) for name, count in self._counters().items()}
        status = status_message(disks, counters)
        status.state = STATES[self._state()]
        return node_pb2.GetNodeStatusResponse(status=status)

    async def SetNodeMountpathState(
        self, request: node_pb2.SetNodeMountpathStateRequest, context: Context
    ) -> node_pb2.SetNodeMountpathStateResponse:
        await self._disks.set_state(request.mountpath, request.state)
        found = await asyncio.to_thread(self._disks.statuses)
        return node_pb2.SetNodeMountpathStateResponse(
            mountpath=next(disk for disk in found if disk.id == request.mountpath)
        )

    async def RotateNodeLog(
        self, request: node_pb2.RotateNodeLogRequest, context: Context
    ) -> node_pb2.RotateNodeLogResponse:
        await asyncio.to_thread(own_log.rotate)
        return node_pb2.RotateNodeLogResponse()

    async def ResetNodeCounters(
        self, request: node_pb2.ResetNodeCountersRequest, context: Context
    ) -> node_pb2.ResetNodeCountersResponse:
        self._zero = dict(self._counters())
        return node_pb2.ResetNodeCountersResponse()

    async def ReadNodeLog(
        self, request: node_pb2.ReadNodeLogRequest, context: Context
    ) -> AsyncIterator[node_pb2.ReadNodeLogResponse]:
        if request.archive:
            data = await asyncio.to_thread(own_log.log_archive)
        else:
            data = await asyncio.to_thread(own_log.log_text, request.level, offset=request.offset)
        for start in range(0, len(data), FRAME_BYTES):
            yield node_pb2.ReadNodeLogResponse(data=data[start : start + FRAME_BYTES])


def node_service(
    state: State, disks: NodeDisks | None = None, counters: Counters = no_counters
) -> AddService:
    servicer = NodeServicer(state, disks or NoDisks(), counters)

    def add(server: grpc.aio.Server) -> None:
        node_pb2_grpc.add_NodeServiceServicer_to_server(servicer, server)

    return add


def status_message(
    disks: Sequence[node_pb2.MountpathStatus], counters: Mapping[str, int]
) -> node_pb2.NodeStatus:
    now = vitals()
    return node_pb2.NodeStatus(
        uptime_ns=int(now.uptime_seconds * NANOSECONDS),
        resident_bytes=now.resident_bytes,
        processor_percent=now.processor_percent,
        memory_bytes=now.memory_bytes,
        memory_available_bytes=now.memory_available_bytes,
        load_averages=now.load_averages,
        mountpaths=disks,
        counters=counters,
    )
