"""Routing: each name at its owner, one retry with a fresh map, and no list that comes short."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shoal_client.replay import REPLAY_BYTES_MAX
from shoal_client.routed import RoutedObjectStore
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.errors import InvalidName, MemberNotFound, OwnerUnreachable, StaleEpoch, Unavailable
from shoal_core.objects import ListQuery, ObjectInfo, PutRequest
from support.clusters import BUCKET, cluster_map_of
from support.memory_store import MemoryObjectStore

NAMES = [f"name-{number}" for number in range(60)]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class Cluster:
    """Three memory stores behind one routed store, and a count of the maps fetched."""

    def __init__(self) -> None:
        self.map: ClusterMap = cluster_map_of("t1", "t2", "t3")
        self.stores = {target.id: MemoryObjectStore() for target in self.map.targets}
        self.refreshed = 0
        self.routed = RoutedObjectStore(lambda: self.map, self.store_of, refresh=self.refresh)

    def store_of(self, member: Member) -> MemoryObjectStore:
        return self.stores[member.id]

    async def refresh(self) -> None:
        self.refreshed += 1
        for store in self.stores.values():
            store.failure = None

    async def put(self, name: str, *parts: bytes) -> ObjectInfo:
        return await self.routed.put(BUCKET, PutRequest(name), pieces(*parts))

    def fail(self, error: OwnerUnreachable | StaleEpoch, *targets: str) -> None:
        for target in targets or self.stores:
            self.stores[target].failure = error


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def test_every_name_is_kept_by_its_owner_alone(cluster: Cluster) -> None:
    for name in NAMES:
        await cluster.put(name, b"x")
    for target, store in cluster.stores.items():
        owned = [name for name in sorted(NAMES) if cluster.map.target_of(BUCKET.id, name).id == target]
        assert store.names == owned
        assert owned


async def test_stale_map_is_fetched_anew_and_the_request_sent_again(cluster: Cluster) -> None:
    await cluster.put("name", b"old")
    cluster.fail(StaleEpoch("another epoch"))
    assert (await cluster.routed.head(BUCKET, "name")).size == 3
    cluster.fail(StaleEpoch("another epoch"))
    assert (await cluster.put("name", b"one", b"two")).size == 6
    assert cluster.refreshed == 2


async def test_upload_that_cannot_be_replayed_reports_the_stale_epoch(cluster: Cluster) -> None:
    class TakesAllThenRefuses(MemoryObjectStore):
        async def put(self, bucket: object, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
            [_ async for _ in body]
            raise StaleEpoch("another epoch")

    cluster.stores = dict.fromkeys(cluster.stores, TakesAllThenRefuses())
    with pytest.raises(StaleEpoch):
        await cluster.put("name", b"x" * REPLAY_BYTES_MAX, b"y")
    assert cluster.refreshed == 0


async def test_second_stale_epoch_is_reported(cluster: Cluster) -> None:
    async def refresh_in_vain() -> None:
        cluster.refreshed += 1

    routed = RoutedObjectStore(lambda: cluster.map, cluster.store_of, refresh=refresh_in_vain)
    cluster.fail(StaleEpoch("another epoch"))
    with pytest.raises(StaleEpoch):
        await routed.head(BUCKET, "name")
    assert cluster.refreshed == 1


async def test_list_fails_when_one_target_does_not_answer(cluster: Cluster) -> None:
    for name in NAMES:
        await cluster.put(name, b"x")
    cluster.fail(OwnerUnreachable("t2 does not answer"), "t2")
    with pytest.raises(OwnerUnreachable, match="t2 does not answer"):
        await cluster.routed.list(BUCKET, ListQuery())


async def test_a_list_may_be_of_one_target_alone(cluster: Cluster) -> None:
    for name in NAMES:
        await cluster.put(name, b"x")
    page = await cluster.routed.list(BUCKET, ListQuery(target="t2"))
    assert [entry.name for entry in page.entries] == cluster.stores["t2"].names
    with pytest.raises(MemberNotFound):
        await cluster.routed.list(BUCKET, ListQuery(target="t9"))


async def test_objects_of_reachable_targets_are_served_while_one_is_away(cluster: Cluster) -> None:
    for name in NAMES:
        await cluster.put(name, b"x")
    cluster.fail(OwnerUnreachable("t2 does not answer"), "t2")
    for name in NAMES:
        if cluster.map.target_of(BUCKET.id, name).id == "t2":
            with pytest.raises(OwnerUnreachable):
                await cluster.routed.head(BUCKET, name)
        else:
            assert (await cluster.routed.head(BUCKET, name)).name == name


async def test_name_that_cannot_be_one_is_refused_before_anything_is_sent(cluster: Cluster) -> None:
    for name in ("", "\ud800", "a\0b", "é" * 513):
        with pytest.raises(InvalidName):
            await cluster.routed.head(BUCKET, name)


async def test_cluster_without_a_target_says_so(cluster: Cluster) -> None:
    cluster.map = cluster_map_of()
    with pytest.raises(Unavailable, match="no target"):
        await cluster.routed.head(BUCKET, "name")
    with pytest.raises(Unavailable, match="no target"):
        await cluster.routed.list(BUCKET, ListQuery())
