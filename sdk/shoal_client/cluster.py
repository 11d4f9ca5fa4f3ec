"""The cluster map as a client sees it: fetched from a proxy, then followed, so that lookups never wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

import grpc.aio

from shoal.cluster.v1.cluster_pb2 import GetClusterMapRequest, WatchClusterMapRequest
from shoal.cluster.v1.cluster_pb2_grpc import ClusterServiceStub
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap
from shoal_core.errors import ConfigurationError, ControlPlaneDown, OwnerUnreachable, ShoalError, Unavailable
from shoal_core.rpc import call, stream_metadata, translate_errors

FETCH_SECONDS_MAX = 10.0
PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 5.0


class FollowedClusterMap:
    """Call `start` before `current`, and `close` at the end. While the proxy is away the last map stands."""

    def __init__(self, channel: grpc.aio.Channel, *, peer: str) -> None:
        self._stub = ClusterServiceStub(channel)
        self._peer = peer
        self._map: ClusterMap | None = None
        self._fetching = asyncio.Lock()
        self._fetches_begun = 0
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.refresh()
        self._follower = asyncio.create_task(self._follow(), name="follow-cluster-map")

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    @property
    def current(self) -> ClusterMap:
        assert self._map is not None, "start() comes before the first look at the map"
        return self._map

    async def refresh(self) -> None:
        """Return when a map is here that was fetched after this call; many callers share one fetch."""
        begun_before = self._fetches_begun
        async with self._fetching:
            if self._fetches_begun > begun_before:
                return
            self._fetches_begun += 1
            with proxy_is_control_plane():
                response = await call(
                    self._stub.GetClusterMap,
                    GetClusterMapRequest(),
                    timeout_seconds=FETCH_SECONDS_MAX,
                    idempotent=True,
                    peer=self._peer,
                )
            self._take(messages.cluster_map_from_message(response.cluster_map))

    def _take(self, offered: ClusterMap) -> None:
        known = self._map
        if known is not None and known.cluster_id != offered.cluster_id:
            raise ConfigurationError(
                f"{self._peer} belongs to cluster {offered.cluster_id} now, before to {known.cluster_id}; "
                "connect anew"
            )
        if known is None or offered.revision >= known.revision:
            self._map = offered

    async def _follow(self) -> None:
        pause_seconds = PAUSE_SECONDS_MIN
        while True:
            revision = self.current.revision
            try:
                await self._watch()
            except Unavailable:
                pass
            except ConfigurationError:
                # Another cluster answers there now. Requests go by the old map, and say what they meet.
                return
            except ShoalError:
                pause_seconds = PAUSE_SECONDS_MAX
            if self.current.revision > revision:
                pause_seconds = PAUSE_SECONDS_MIN
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))
            pause_seconds = min(pause_seconds * 2, PAUSE_SECONDS_MAX)

    async def _watch(self) -> None:
        """Take maps until the stream ends. It may be silent for days: keepalive pings notice a dead proxy."""
        with translate_errors(self._peer):
            watch = self._stub.WatchClusterMap(WatchClusterMapRequest(), metadata=stream_metadata())
            async for response in watch:
                self._take(messages.cluster_map_from_message(response.cluster_map))


@contextmanager
def proxy_is_control_plane() -> Iterator[None]:
    """A proxy owns no objects: when it does not answer, it is changes that wait, and reads that go on."""
    try:
        yield
    except OwnerUnreachable as error:
        raise ControlPlaneDown(
            f"cannot reach {error.message}; check the address, and that the cluster runs", **error.metadata
        ) from error
