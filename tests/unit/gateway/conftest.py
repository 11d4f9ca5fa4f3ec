"""A gateway application around one target's store in memory, asked in process."""

from __future__ import annotations

import pytest
from starlette.types import Scope

from shoal_core.access import NO_PERMISSIONS, Permission, Principal
from shoal_core.cluster_map import ClusterMap, Member, MemberRole, Mountpath
from shoal_core.objects import BucketProperties, BucketReference
from shoal_core.rpc import Channels
from shoal_gateway.app import GatewayApplication
from shoal_gateway.control import Proxies
from shoal_gateway.guard import LocalGuard
from shoal_gateway.parts import Parts
from support.asgi import Asking
from support.memory_buckets import MemoryBuckets
from support.memory_store import MemoryObjectStore


class NamedGuard(LocalGuard):
    """Admits everybody whom the real one admits, as somebody with less power."""

    def __init__(self, principal: Principal) -> None:
        super().__init__(port=51080)
        self._principal = principal

    def authenticate(self, scope: Scope) -> Principal:
        super().authenticate(scope)
        return self._principal


MEMBERS = (
    Member("g1", MemberRole.GATEWAY, alive=True),
    Member("p1", MemberRole.PROXY, alive=True, internal_address="127.0.0.1:1"),
    Member(
        "t1", MemberRole.TARGET, alive=True, host_id="here", weight=1.0, mountpaths=(Mountpath("mp1", "/"),)
    ),
)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore("t[t1]:mp1")


@pytest.fixture
async def parts(store: MemoryObjectStore) -> Parts:
    buckets = MemoryBuckets()
    await buckets.create(BucketReference("b"), BucketProperties())
    cluster = ClusterMap("test-cluster", 17, 1, MEMBERS, 1_700_000_000_000_000_000)
    proxies = Proxies(Channels(None), lambda: cluster)
    return Parts(store, buckets, buckets, lambda: cluster, node_id="g1", host_id="here", proxy=proxies.choose)


def application_of(parts: Parts, guard: LocalGuard) -> GatewayApplication:
    return GatewayApplication(parts, guard, requests_max=8, idle_timeout_seconds=5)


@pytest.fixture
def application(parts: Parts) -> GatewayApplication:
    return application_of(parts, LocalGuard(port=51080))


@pytest.fixture
def ask(application: GatewayApplication) -> Asking:
    return Asking(application)


@pytest.fixture
def ask_as(parts: Parts) -> dict[str, Asking]:
    """Callers by name."""
    reader = Principal("reader", "user", "guest", Permission.GET)
    nobody = Principal("nobody", "user", "guest", NO_PERMISSIONS)
    return {each.name: Asking(application_of(parts, NamedGuard(each))) for each in (reader, nobody)}
