"""The disks of targets, one by one: what operators see of them, and switch off and on."""

from __future__ import annotations

import asyncio

from shoal.cluster.v1 import mountpath_pb2, mountpath_pb2_grpc
from shoal.node.v1.node_pb2 import GetNodeStatusRequest, MountpathStatus, SetNodeMountpathStateRequest
from shoal.node.v1.node_pb2_grpc import NodeServiceStub
from shoal_core.cluster_map import Member
from shoal_core.errors import DeadlineExceeded, MemberNotFound, Unavailable
from shoal_core.membership import ClusterView
from shoal_core.rpc import Channels, Context, call

STATUS_SECONDS_MAX = 5.0
CHANGE_SECONDS_MAX = 60.0
"""A disk that fails may take long to say so."""


class MountpathServicer(mountpath_pb2_grpc.MountpathServiceServicer):
    def __init__(self, view: ClusterView, channels: Channels) -> None:
        self._view = view
        self._channels = channels

    async def ListMountpaths(
        self, request: mountpath_pb2.ListMountpathsRequest, context: Context
    ) -> mountpath_pb2.ListMountpathsResponse:
        targets = [self._target(request.target)] if request.target else self._view.current.targets
        found = await asyncio.gather(*(self._of(member) for member in targets))
        return mountpath_pb2.ListMountpathsResponse(mountpaths=[each for disks in found for each in disks])

    async def SetMountpathState(
        self, request: mountpath_pb2.SetMountpathStateRequest, context: Context
    ) -> mountpath_pb2.SetMountpathStateResponse:
        member = self._target(request.target)
        answer = await call(
            self._stub(member).SetNodeMountpathState,
            SetNodeMountpathStateRequest(mountpath=request.mountpath, state=request.state),
            timeout_seconds=CHANGE_SECONDS_MAX,
            peer=member.id,
        )
        return mountpath_pb2.SetMountpathStateResponse(mountpath=described(member, answer.mountpath))

    async def _of(self, member: Member) -> list[mountpath_pb2.MountpathDescription]:
        try:
            answer = await call(
                self._stub(member).GetNodeStatus,
                GetNodeStatusRequest(),
                timeout_seconds=STATUS_SECONDS_MAX,
                peer=member.id,
            )
        except (Unavailable, DeadlineExceeded):
            return [
                mountpath_pb2.MountpathDescription(target=member.id, mountpath=each.id, path=each.path)
                for each in member.mountpaths
            ]
        return [described(member, each) for each in answer.status.mountpaths]

    def _stub(self, member: Member) -> NodeServiceStub:
        return NodeServiceStub(self._channels.get(member.internal_address))

    def _target(self, target: str) -> Member:
        for member in self._view.current.targets:
            if member.id == target:
                return member
        raise MemberNotFound(f"there is no target {target[:64]!r} in this cluster")


def described(member: Member, status: MountpathStatus) -> mountpath_pb2.MountpathDescription:
    return mountpath_pb2.MountpathDescription(
        target=member.id,
        mountpath=status.id,
        path=status.path,
        state=status.state,
        reason=status.reason,
        since_ns=status.since_ns,
        used_bytes=status.used_bytes,
        available_bytes=status.available_bytes,
        device=status.device,
        filesystem=status.filesystem,
    )
