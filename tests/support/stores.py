"""Real engines on temporary mountpaths, and real gRPC servers in front of any store, within the test's process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from shoal.object.v1.object_pb2_grpc import add_ObjectServiceServicer_to_server
from shoal.object.v1.upload_pb2_grpc import add_UploadServiceServicer_to_server
from shoal_client.remote import RemoteObjectStore
from shoal_core.access import Permission, Principal
from shoal_core.certificates import ClusterAuthority
from shoal_core.errors import BucketNotFound
from shoal_core.multipart import MultipartStore
from shoal_core.object_service import ObjectServicer
from shoal_core.objects import Bucket, BucketId, BucketReference
from shoal_core.placement import SLOTS
from shoal_core.rpc import Channels, Listener, add_listener, build_server
from shoal_core.upload_service import UploadServicer
from shoal_store.engine import open_engine
from shoal_store.local import LocalObjectStore

ALL_SLOTS = b"\xff" * (SLOTS // 8)
CLUSTER_ID = "test-cluster"


class Unfenced:
    """A target that is a member for the next hour, and knows of no removed bucket."""

    def deadline(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + 3600

    def is_current(self, bucket_id: BucketId) -> bool:
        return True


@asynccontextmanager
async def local_store(
    folder: Path, *, target: str = "t1", owned: bytes = ALL_SLOTS
) -> AsyncIterator[LocalObjectStore]:
    """The engine of a target with two mountpaths."""
    folders = {name: folder / target / name for name in ("mp1", "mp2")}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    engine = open_engine(folders, cluster=CLUSTER_ID, target=target, authority=Unfenced())
    engine.own(1, owned)
    await engine.start()
    try:
        yield engine.store
    finally:
        await engine.stop()


class KnownBuckets:
    """What an object service needs of the bucket directory; permissions are tested elsewhere."""

    def __init__(self, *buckets: Bucket) -> None:
        self._buckets = {bucket.reference: bucket for bucket in buckets}

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket:
        if reference not in self._buckets:
            raise BucketNotFound(f"bucket {reference} does not exist", bucket=str(reference))
        return self._buckets[reference]


@asynccontextmanager
async def remote_store(
    folder: Path,
    store: MultipartStore,
    *buckets: Bucket,
    target: str = "t1",
    through: Callable[[grpc.aio.Channel], grpc.aio.Channel] = lambda channel: channel,
) -> AsyncIterator[RemoteObjectStore]:
    """`store` behind the object service of a node, over mutual TLS, as a gateway reaches it; `through` may wrap the
    channel."""
    authority_folder = folder / "ca"
    exists = (authority_folder / "ca.key").exists()
    authority = (
        ClusterAuthority.load(authority_folder)
        if exists
        else ClusterAuthority.create(authority_folder, CLUSTER_ID)
    )
    known = KnownBuckets(*buckets)
    objects, uploads = ObjectServicer(store, known), UploadServicer(store, known)
    server = build_server(
        node=target,
        cluster_id=CLUSTER_ID,
        mode=Listener.INTERNAL,
        services=[
            lambda server: add_ObjectServiceServicer_to_server(objects, server),
            lambda server: add_UploadServiceServicer_to_server(uploads, server),
        ],
    )
    tls = authority.issue(folder / "certificates" / target, "target", target)
    address = add_listener(server, "127.0.0.1:0", tls=tls, mode=Listener.INTERNAL)
    await server.start()
    channels = Channels(authority.issue(folder / "certificates" / "g1", "gateway", "g1"))
    try:
        yield RemoteObjectStore(through(channels.get(address)), peer=target)
    finally:
        await channels.close()
        await server.stop(None)
