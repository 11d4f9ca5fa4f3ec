"""The disks of targets: what they are, and how an operator switches one off and on."""

from __future__ import annotations

from collections.abc import Sequence

import grpc.aio

from shoal.cluster.v1 import mountpath_pb2
from shoal.cluster.v1.mountpath_pb2 import MountpathDescription
from shoal.cluster.v1.mountpath_pb2_grpc import MountpathServiceStub
from shoal_client.cluster import proxy_is_control_plane
from shoal_core.rpc import call

CALL_SECONDS_MAX = 70.0


class MountpathsClient:
    """Of a proxy."""

    def __init__(self, channel: grpc.aio.Channel, *, peer: str) -> None:
        self._stub = MountpathServiceStub(channel)
        self._peer = peer

    async def list(self, target: str = "") -> Sequence[MountpathDescription]:
        """Of all targets, or of one. Raises MemberNotFound."""
        request = mountpath_pb2.ListMountpathsRequest(target=target)
        with proxy_is_control_plane():
            answer = await call(
                self._stub.ListMountpaths,
                request,
                timeout_seconds=CALL_SECONDS_MAX,
                idempotent=True,
                peer=self._peer,
            )
        return list(answer.mountpaths)

    async def disable(self, target: str, mountpath: str) -> MountpathDescription:
        """What lies on it is refused until it is enabled, all else is served. Raises NotFound."""
        return await self._set(target, mountpath, mountpath_pb2.MOUNTPATH_STATE_DISABLED)

    async def enable(self, target: str, mountpath: str) -> MountpathDescription:
        """Try the disk and use it again. Raises NotFound, and Unavailable for one that is not fit."""
        return await self._set(target, mountpath, mountpath_pb2.MOUNTPATH_STATE_AVAILABLE)

    async def _set(
        self, target: str, mountpath: str, state: mountpath_pb2.MountpathState.ValueType
    ) -> MountpathDescription:
        request = mountpath_pb2.SetMountpathStateRequest(target=target, mountpath=mountpath, state=state)
        answer = await call(
            self._stub.SetMountpathState, request, timeout_seconds=CALL_SECONDS_MAX, peer=self._peer
        )
        return answer.mountpath
