"""Objects of a target on this host: disks read here, records committed over the socket, nothing without it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.object_store_contract import BUCKET, ObjectStoreContract
from shoal.chunk.v1.chunk_pb2_grpc import add_ChunkServiceServicer_to_server
from shoal_core.cluster_map import Member, MemberRole, Mountpath
from shoal_core.errors import OwnerUnreachable
from shoal_core.host import boottime_seconds, host_id
from shoal_core.objects import BucketId, ObjectStore, PutRequest
from shoal_core.rpc import Channels, Listener, add_listener, build_server
from shoal_gateway.stores import MemberStores
from shoal_store.engine import Engine, open_engine
from shoal_target.chunk_service import ChunkServicer

ALL_SLOTS = b"\xff" * 8192


class Granted:
    """A target that may always write."""

    def deadline(self) -> float:
        return boottime_seconds() + 60

    def is_current(self, bucket_id: BucketId) -> bool:
        return True


class RunningTarget:
    """The parts of a target that a gateway of its host meets."""

    def __init__(self, folder: Path, socket: str) -> None:
        self.folders = {name: folder / name for name in ("mp1", "mp2")}
        self.socket = socket
        self.engine: Engine | None = None

    async def start(self) -> None:
        for path in self.folders.values():
            path.mkdir(parents=True, exist_ok=True)
        engine = open_engine(self.folders, cluster="c1", target="t1", authority=Granted())
        engine.own(1, ALL_SLOTS)
        await engine.start()
        servicer = ChunkServicer(engine, node="t1", stopping=asyncio.Event())
        self.server = build_server(
            node="t1",
            cluster_id="c1",
            mode=Listener.LOCAL_SOCKET,
            services=[lambda server: add_ChunkServiceServicer_to_server(servicer, server)],
        )
        add_listener(self.server, f"unix:{self.socket}", tls=None, mode=Listener.LOCAL_SOCKET)
        await self.server.start()
        self.engine = engine

    async def stop(self) -> None:
        await self.server.stop(0)
        if self.engine is not None:
            await self.engine.stop()

    @property
    def member(self) -> Member:
        mountpaths = tuple(Mountpath(name, str(path)) for name, path in self.folders.items())
        return Member(
            "t1",
            MemberRole.TARGET,
            internal_address="127.0.0.1:9",
            unix_socket=self.socket,
            host_id=host_id(),
            mountpaths=mountpaths,
        )


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[RunningTarget]:
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        running = RunningTarget(tmp_path, f"{folder}/t1.sock")
        await running.start()
        yield running
        await running.stop()


@pytest.fixture
async def stores() -> AsyncIterator[MemberStores]:
    channels = Channels(None)
    stores = MemberStores(channels, cluster_id="c1", host_id=host_id(), local_reads=True, epoch=lambda: 1)
    yield stores
    await stores.close()
    await channels.close()


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class TestSameHostStore(ObjectStoreContract):
    @pytest.fixture
    async def store(self, target: RunningTarget, stores: MemberStores) -> ObjectStore:
        return stores.store_of(target.member)


async def test_many_writers_share_few_transactions(target: RunningTarget, stores: MemberStores) -> None:
    store = stores.store_of(target.member)
    puts = [store.put(BUCKET, PutRequest(f"o{i}"), body(b"x")) for i in range(200)]
    await asyncio.gather(*puts)
    assert target.engine is not None
    groups, commits = target.engine.groups
    assert (commits, groups < 100) == (200, True)


async def test_a_stopped_target_serves_nothing_until_it_is_back(
    target: RunningTarget, stores: MemberStores
) -> None:
    store = stores.store_of(target.member)
    await store.put(BUCKET, PutRequest("o"), body(b"x"))
    await target.stop()
    while True:
        try:
            await store.head(BUCKET, "o")
        except OwnerUnreachable:
            break
        await asyncio.sleep(0.01)
    with pytest.raises(OwnerUnreachable):
        await store.put(BUCKET, PutRequest("o"), body(b"y"))
    await target.start()
    async with asyncio.timeout(10):
        while not await answers(store):
            await asyncio.sleep(0.01)


async def answers(store: ObjectStore) -> bool:
    try:
        await store.head(BUCKET, "o")
    except OwnerUnreachable:
        return False
    return True
