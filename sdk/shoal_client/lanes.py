"""A lane: connections of its own to proxy and targets. One connection is one stream of TCP, and is capped as one."""

from __future__ import annotations

from shoal_client.cluster import FollowedClusterMap
from shoal_client.remote import RemoteObjectStore
from shoal_client.routed import RoutedObjectStore
from shoal_core.cluster_map import Member
from shoal_core.errors import OwnerUnreachable
from shoal_core.multipart import MultipartStore
from shoal_core.rpc import Channels


class Lane:
    """The objects of a cluster through one set of connections."""

    def __init__(
        self, channels: Channels, cluster: FollowedClusterMap, *, proxy_address: str, direct: bool
    ) -> None:
        self._channels = channels
        self._cluster = cluster
        self._stores: dict[str, MultipartStore] = {}
        self.objects: MultipartStore = (
            RoutedObjectStore(lambda: cluster.current, self._store_of, refresh=cluster.refresh)
            if direct
            else RemoteObjectStore(channels.get(proxy_address), peer=f"proxy {proxy_address}")
        )

    async def close(self) -> None:
        await self._channels.close()

    def _store_of(self, member: Member) -> MultipartStore:
        if not member.public_address:
            raise OwnerUnreachable(
                f"target {member.id} has no public address; connect with direct=False to use the proxy",
                target=member.id,
            )
        # Targets that restart may come back under another port: the address is the identity here.
        store = self._stores.get(member.public_address)
        if store is None:
            store = self._stores[member.public_address] = RemoteObjectStore(
                self._channels.get(member.public_address),
                peer=f"target {member.id} at {member.public_address}",
                epoch=lambda: self._cluster.current.placement_epoch,
            )
        return store
