"""A gateway application around one target's store in memory, for tests that ask it in process."""

from __future__ import annotations

from shoal_core.cluster_map import ClusterMap, Member, MemberRole, Mountpath
from shoal_core.objects import BucketProperties, BucketReference
from shoal_core.rpc import Channels
from shoal_gateway.app import GatewayApplication
from shoal_gateway.control import Proxies
from shoal_gateway.guard import LocalGuard
from shoal_gateway.parts import Parts
from support.memory_buckets import MemoryBuckets
from support.memory_store import MemoryObjectStore

MEMBERS = (
    Member("g1", MemberRole.GATEWAY, alive=True),
    Member("p1", MemberRole.PROXY, alive=True, internal_address="127.0.0.1:1"),
    Member(
        "t1", MemberRole.TARGET, alive=True, host_id="here", weight=1.0, mountpaths=(Mountpath("mp1", "/"),)
    ),
)


async def memory_parts(store: MemoryObjectStore) -> Parts:
    """With the bucket `b`."""
    buckets = MemoryBuckets()
    await buckets.create(BucketReference("b"), BucketProperties())
    cluster = ClusterMap("test-cluster", 17, 1, MEMBERS, 1_700_000_000_000_000_000)
    proxies = Proxies(Channels(None), lambda: cluster)
    return Parts(store, buckets, buckets, lambda: cluster, node_id="g1", host_id="here", proxy=proxies.choose)


def application_of(parts: Parts, guard: LocalGuard) -> GatewayApplication:
    return GatewayApplication(parts, guard, requests_max=8, idle_timeout_seconds=5)
