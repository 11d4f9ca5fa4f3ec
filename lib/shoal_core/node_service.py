"""`NodeService`: what a proxy or target says of itself, asked by gateways for their users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import grpc.aio

from shoal.node.v1 import node_pb2, node_pb2_grpc
from shoal_core import own_log
from shoal_core.cluster_map import MemberState
from shoal_core.messages import STATES
from shoal_core.node_vitals import DiskUse, disk_uses, vitals
from shoal_core.objects import FRAME_BYTES
from shoal_core.rpc import Context
from shoal_core.serving import AddService

NANOSECONDS = 1_000_000_000

Counters = Callable[[], Mapping[str, int]]
State = Callable[[], MemberState]


def no_counters() -> Mapping[str, int]:
    return {}


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    """Of a process with its disks in `folders`."""

    def __init__(self, state: State, folders: Sequence[Path] = (), counters: Counters = no_counters) -> None:
        self._state = state
        self._folders = folders
        self._counters = counters

    async def GetNodeStatus(
        self, request: node_pb2.GetNodeStatusRequest, context: Context
    ) -> node_pb2.GetNodeStatusResponse:
        disks = await asyncio.to_thread(disk_uses, self._folders)
        status = status_message(disks, self._counters())
        status.state = STATES[self._state()]
        return node_pb2.GetNodeStatusResponse(status=status)

    async def RotateNodeLog(
        self, request: node_pb2.RotateNodeLogRequest, context: Context
    ) -> node_pb2.RotateNodeLogResponse:
        await asyncio.to_thread(own_log.rotate)
        return node_pb2.RotateNodeLogResponse()

    async def ReadNodeLog(
        self, request: node_pb2.ReadNodeLogRequest, context: Context
    ) -> AsyncIterator[node_pb2.ReadNodeLogResponse]:
        if request.archive:
            data = await asyncio.to_thread(own_log.log_archive)
        else:
            data = await asyncio.to_thread(own_log.log_text, request.level, offset=request.offset)
        for start in range(0, len(data), FRAME_BYTES):
            yield node_pb2.ReadNodeLogResponse(data=data[start : start + FRAME_BYTES])


def node_service(state: State, folders: Sequence[Path] = (), counters: Counters = no_counters) -> AddService:
    servicer = NodeServicer(state, folders, counters)

    def add(server: grpc.aio.Server) -> None:
        node_pb2_grpc.add_NodeServiceServicer_to_server(servicer, server)

    return add


def status_message(disks: Sequence[DiskUse], counters: Mapping[str, int]) -> node_pb2.NodeStatus:
    now = vitals()
    return node_pb2.NodeStatus(
        uptime_ns=int(now.uptime_seconds * NANOSECONDS),
        resident_bytes=now.resident_bytes,
        processor_percent=now.processor_percent,
        memory_bytes=now.memory_bytes,
        memory_available_bytes=now.memory_available_bytes,
        load_averages=now.load_averages,
        mountpaths=[
            node_pb2.MountpathStatus(
                path=str(disk.path),
                used_bytes=disk.used_bytes,
                available_bytes=disk.available_bytes,
                device=disk.device,
                filesystem=disk.filesystem,
            )
            for disk in disks
        ],
        counters=counters,
    )
