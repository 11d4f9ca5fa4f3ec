"""The cluster map for clients that find the owner of an object by themselves, and the states of its members."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

from shoal.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from shoal.node.v1.node_pb2 import GetNodeStatusRequest
from shoal.node.v1.node_pb2_grpc import NodeServiceStub
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.cluster_settings import ClusterSettings, SettingsRegistry
from shoal_core.errors import DeadlineExceeded, Unavailable
from shoal_core.member_states import MemberStates
from shoal_core.membership import ClusterView
from shoal_core.rpc import Channels, Context, call
from shoal_proxy.bucket_service import checked

HEARD_SECONDS_MAX = 3.0
HEARD_PAUSE_SECONDS = 0.02


class ClusterServicer(cluster_pb2_grpc.ClusterServiceServicer):
    """Maps of `view`. Watches end once `stopping` is set."""

    def __init__(
        self,
        view: ClusterView,
        states: MemberStates,
        settings: SettingsRegistry,
        channels: Channels,
        *,
        stopping: asyncio.Event,
    ) -> None:
        self._view = view
        self._settings = settings
        self._states = states
        self._channels = channels
        self._stopping = stopping

    async def GetClusterMap(
        self, request: cluster_pb2.GetClusterMapRequest, context: Context
    ) -> cluster_pb2.GetClusterMapResponse:
        return cluster_pb2.GetClusterMapResponse(
            cluster_map=messages.cluster_map_to_message(self._view.current)
        )

    async def SetMemberState(
        self, request: cluster_pb2.SetMemberStateRequest, context: Context
    ) -> cluster_pb2.SetMemberStateResponse:
        member = await self._states.set(request.id, messages.member_state_from_message(request.state))
        await self._wait_until_heard(member)
        return cluster_pb2.SetMemberStateResponse(member=messages.member_to_message(member))

    async def GetSettings(
        self, request: cluster_pb2.GetSettingsRequest, context: Context
    ) -> cluster_pb2.GetSettingsResponse:
        return cluster_pb2.GetSettingsResponse(settings=settings_message(await self._settings.get()))

    async def UpdateSettings(
        self, request: cluster_pb2.UpdateSettingsRequest, context: Context
    ) -> cluster_pb2.UpdateSettingsResponse:
        def changed(current: ClusterSettings) -> ClusterSettings:
            base = ClusterSettings() if request.reset else current
            defaults = messages.bucket_properties_from_message(
                request.settings.bucket_defaults, base=base.bucket_defaults
            )
            return replace(base, bucket_defaults=checked(defaults))

        settings = await self._settings.change(changed)
        return cluster_pb2.UpdateSettingsResponse(settings=settings_message(settings))

    async def _wait_until_heard(self, member: Member) -> None:
        """Raises Unavailable when the member is away, or slow: then it hears of it later."""
        stub = NodeServiceStub(self._channels.get(member.internal_address))
        deadline = monotonic() + HEARD_SECONDS_MAX
        while monotonic() < deadline:
            with suppress(Unavailable, DeadlineExceeded):
                answer = await call(
                    stub.GetNodeStatus,
                    GetNodeStatusRequest(),
                    timeout_seconds=HEARD_SECONDS_MAX,
                    peer=member.id,
                )
                if answer.status.state == messages.STATES[member.state]:
                    return
            await asyncio.sleep(HEARD_PAUSE_SECONDS)
        raise Unavailable(
            f"the state of {member.id} is {member.state} now, but it does not answer: it hears of it when it is back"
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


def settings_message(settings: ClusterSettings) -> cluster_pb2.Settings:
    return cluster_pb2.Settings(
        bucket_defaults=messages.bucket_properties_to_message(settings.bucket_defaults)
    )


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Until one of them is done; the others are given up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
