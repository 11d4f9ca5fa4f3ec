"""A batch that must be whole is asked of its owners, in a call each; of the store only where an owner cannot tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from shoal.batch.v1 import batch_pb2
from shoal.batch.v1.batch_pb2_grpc import add_BatchServiceServicer_to_server
from shoal_archive.archives import Archives
from shoal_archive.batch import BatchReader, BegunBatch, Item, Streams
from shoal_archive.batch_service import BatchServicer
from shoal_client.batch import CALL_ITEMS_MAX, streams_of
from shoal_core.access import Permission, Principal
from shoal_core.certificates import ClusterAuthority
from shoal_core.errors import ObjectNotFound, StaleEpoch
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    BucketReference,
    ObjectInfo,
    Preconditions,
    PutRequest,
)
from shoal_core.rpc import Channels, Context, Listener, add_listener, build_server
from support.clusters import BUCKET, cluster_map_of
from support.memory_store import MemoryObjectStore
from support.stores import CLUSTER_ID

MAP = cluster_map_of("t1", "t2")
NAMES = [f"object-{number}" for number in range(50)]


class CountedStore(MemoryObjectStore):
    heads = 0

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        self.heads += 1
        return await super().head(bucket, name, preconditions=preconditions)


class Owner(BatchServicer):
    """A target. `failure` refuses every call, as a target does to those with an old map."""

    def __init__(self) -> None:
        self.store, self.calls = MemoryObjectStore(), 0
        self.failure: StaleEpoch | None = None
        super().__init__(BatchReader(self.store, Archives(self.store)), self)

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket:
        return BUCKET

    async def CheckBatch(
        self, request: batch_pb2.CheckBatchRequest, context: Context
    ) -> batch_pb2.CheckBatchResponse:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return await super().CheckBatch(request, context)


class Asking:
    """Who reads the batch has `store`; the owners are behind gRPC."""

    def __init__(self, owners: dict[str, Owner], addresses: dict[str, str], channels: Channels) -> None:
        self.owners = owners
        self.store = CountedStore()
        self._addresses = addresses
        self._channels = channels

    def begin(self, names: Sequence[str]) -> BegunBatch:
        def elsewhere(items: Sequence[Item]) -> Streams | None:
            return streams_of(items, MAP, lambda target: self._channels.get(self._addresses[target.id]))

        reader = BatchReader(self.store, Archives(self.store), elsewhere=elsewhere)
        return reader.begin([Item(BUCKET, name) for name in names])


async def no_bytes() -> AsyncIterator[bytes]:
    yield b""


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    authority = ClusterAuthority.create(tmp_path / "ca", CLUSTER_ID)
    channels = Channels(authority.issue(tmp_path / "g1", "gateway", "g1"))
    owners, addresses, servers = {}, {}, []
    for name in ("t1", "t2"):
        owner = owners[name] = Owner()
        server = build_server(
            node=name,
            cluster_id=CLUSTER_ID,
            mode=Listener.INTERNAL,
            services=[partial(add_BatchServiceServicer_to_server, owner)],
        )
        tls = authority.issue(tmp_path / name, "target", name)
        addresses[name] = add_listener(server, "127.0.0.1:0", tls=tls, mode=Listener.INTERNAL)
        await server.start()
        servers.append(server)
    asking = Asking(owners, addresses, channels)
    for name in NAMES:
        owner = owners[MAP.target_of(BUCKET.id, name).id]
        await owner.store.put(BUCKET, PutRequest(name=name), no_bytes())
    yield asking
    await channels.close()
    for server in servers:
        await server.stop(None)


async def test_each_owner_is_asked_once(asking: Asking) -> None:
    await asking.begin(NAMES).require()
    assert [owner.calls for owner in asking.owners.values()] == [1, 1]
    assert asking.store.heads == 0


async def test_one_that_is_missing_fails_the_batch(asking: Asking) -> None:
    with pytest.raises(ObjectNotFound) as raised:
        await asking.begin([*NAMES, "nowhere"]).require()
    assert "nowhere" in raised.value.message
    assert asking.store.heads == 0


async def test_what_an_owner_cannot_tell_is_asked_of_the_store(asking: Asking) -> None:
    refusing = asking.owners["t1"]
    refusing.failure = StaleEpoch("fetch the map again")
    theirs = [name for name in NAMES if MAP.target_of(BUCKET.id, name).id == "t1"]
    for name in theirs:
        await asking.store.put(BUCKET, PutRequest(name=name), no_bytes())
    await asking.begin(NAMES * 2).require()
    assert asking.store.heads == len(theirs)
    with pytest.raises(ObjectNotFound):
        await asking.begin(["nowhere-1", "nowhere-2", "nowhere-3", "nowhere-4"]).require()


async def test_long_batches_are_several_calls(asking: Asking) -> None:
    await asking.begin(NAMES * (2 * CALL_ITEMS_MAX // len(NAMES))).require()
    assert sum(owner.calls for owner in asking.owners.values()) in (2, 3, 4)
