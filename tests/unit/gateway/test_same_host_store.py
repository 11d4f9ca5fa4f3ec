"""Objects of a target on this host: disks read here, records committed over the socket, nothing without it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.copy_contract import CopyContract
from contract.object_store_contract import BUCKET, ObjectStoreContract
from shoal_client.routed import RoutedObjectStore
from shoal_core.buckets import BucketRecord, key_of
from shoal_core.cluster_map import Member
from shoal_core.errors import BucketNotFound, ObjectNotFound, OwnerUnreachable, Unavailable
from shoal_core.host import host_id
from shoal_core.node import Node, open_node
from shoal_core.objects import (
    Bucket,
    BucketId,
    BucketReference,
    CopyRequest,
    ListPage,
    ListQuery,
    ObjectBody,
    ObjectInfo,
    ObjectStore,
    PutRequest,
)
from shoal_core.rpc import Channels
from shoal_gateway.stores import MemberStores, SameHostStore
from support.node import CLUSTER_ID, Nodes

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """etcd and one target, which the tests may kill and start."""
    with Nodes(tmp_path_factory.mktemp("same-host")) as nodes:
        nodes.etcd.start()
        nodes.target("t1").start()
        yield nodes


@pytest.fixture
async def node(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Node]:
    """What a gateway sees of them."""
    async with open_node(
        cluster_id=CLUSTER_ID,
        etcd_endpoints=(nodes.etcd.endpoint,),
        tls=nodes.tls("gateway", "g1"),
        state_folder=tmp_path / "state",
    ) as node:
        yield node


@pytest.fixture
async def stores(nodes: Nodes, node: Node) -> AsyncIterator[MemberStores]:
    channels = Channels(nodes.tls("gateway", "g1"))
    stores = MemberStores(
        channels,
        cluster_id=CLUSTER_ID,
        host_id=host_id(),
        local_reads=True,
        epoch=lambda: node.view.current.placement_epoch,
        freshness=node.freshness,
    )
    yield stores
    await stores.close()
    await channels.close()


class RegisteredBuckets:
    """The store, with each bucket that a test makes up under an id of its own that etcd and the target know."""

    def __init__(self, store: ObjectStore, node: Node) -> None:
        self._store = store
        self._node = node
        self._registered: dict[BucketId, Bucket] = {}
        self._registering = asyncio.Lock()

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        return await self._store.put(await self._known(bucket), request, body)

    async def open(self, bucket: Bucket, name: str, **wishes: Any) -> ObjectBody:
        return await self._store.open(await self._known(bucket), name, **wishes)

    async def head(self, bucket: Bucket, name: str, **wishes: Any) -> ObjectInfo:
        return await self._store.head(await self._known(bucket), name, **wishes)

    async def delete(self, bucket: Bucket, name: str, **wishes: Any) -> ObjectInfo:
        return await self._store.delete(await self._known(bucket), name, **wishes)

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        request = replace(request, source=await self._known(request.source))
        return await self._store.copy(await self._known(bucket), request)

    async def annotate(
        self, bucket: Bucket, name: str, metadata: Mapping[str, str], **wishes: Any
    ) -> ObjectInfo:
        return await self._store.annotate(await self._known(bucket), name, metadata, **wishes)

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        return await self._store.list(await self._known(bucket), query)

    async def _known(self, bucket: Bucket) -> Bucket:
        async with self._registering:
            if bucket.id not in self._registered:
                self._registered[bucket.id] = await self._register(bucket)
        return replace(self._registered[bucket.id], properties=bucket.properties)

    async def _register(self, bucket: Bucket) -> Bucket:
        reference = BucketReference(f"contract-{next(NUMBERS)}")
        registered = replace(bucket, reference=reference, id=BucketId(os.urandom(8)))
        record = msgspec.json.encode(BucketRecord(registered.id, 0, registered.properties))
        await self._node.etcd.put(key_of(reference), record)
        await until(lambda: self._is_known(registered))
        return registered

    async def _is_known(self, bucket: Bucket) -> bool:
        with contextlib.suppress(BucketNotFound, OwnerUnreachable):
            try:
                await self._store.delete(bucket, "none")
            except ObjectNotFound:
                return True
        return False


@pytest.fixture
async def store(node: Node, stores: MemberStores) -> ObjectStore:
    assert isinstance(stores.store_of(node.view.current.targets[0]), SameHostStore)
    return RegisteredBuckets(RoutedObjectStore(lambda: node.view.current, stores.store_of), node)


class TestSameHostStore(ObjectStoreContract, CopyContract):
    """The contract, over disks that another process commits to."""


async def test_a_killed_target_serves_nothing_until_it_is_back(nodes: Nodes, store: ObjectStore) -> None:
    await store.put(BUCKET, PutRequest("kept"), body(b"x"))
    target = nodes.processes["t1"]
    target.kill()
    await until(lambda: fails(store, "kept"))
    with pytest.raises(OwnerUnreachable, match="t1 is not running"):
        await store.put(BUCKET, PutRequest("other"), body(b"y"))
    await asyncio.to_thread(target.start)
    await until(lambda: succeeds(store, "kept"))
    await until(lambda: written(store, "other"))


async def test_a_restarted_target_is_read_from_its_disks_again(
    nodes: Nodes, node: Node, stores: MemberStores, store: ObjectStore
) -> None:
    await store.put(BUCKET, PutRequest("kept"), body(b"x"))
    before = node.view.current.targets[0]
    nodes.processes["t1"].kill()
    await asyncio.to_thread(nodes.processes["t1"].start)
    await until(lambda: moved(node, before))
    await until(lambda: succeeds(store, "kept"))
    after = stores.store_of(node.view.current.targets[0])
    assert after is stores.store_of(before), "the disks are opened once"


async def test_where_disks_cannot_be_shared_everything_goes_over_grpc(
    node: Node, stores: MemberStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal_store.owner.host_id", lambda: "elsewhere")
    routed = RegisteredBuckets(RoutedObjectStore(lambda: node.view.current, stores.store_of), node)
    await routed.put(BUCKET, PutRequest("far"), body(b"x"))
    assert (await routed.head(BUCKET, "far")).size == 1


async def moved(node: Node, before: Member) -> bool:
    return node.view.current.targets[0].internal_address != before.internal_address


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(2000):
        if await check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 20 seconds")


async def succeeds(store: ObjectStore, name: str) -> bool:
    with contextlib.suppress(OwnerUnreachable):
        return (await store.head(BUCKET, name)).name == name
    return False


async def fails(store: ObjectStore, name: str) -> bool:
    return not await succeeds(store, name)


async def written(store: ObjectStore, name: str) -> bool:
    with contextlib.suppress(Unavailable):
        return bool(await store.put(BUCKET, PutRequest(name), body(b"x")))
    return False


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
