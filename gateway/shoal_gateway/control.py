"""Changes of buckets: asked of a proxy, which makes them in etcd and waits until every gateway knows."""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio

from shoal.bucket.v1 import bucket_pb2
from shoal.bucket.v1.bucket_pb2 import CreateBucketRequest, DeleteBucketRequest, UpdateBucketRequest
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal.cluster.v1.cluster_pb2 import GetSettingsRequest, Settings, UpdateSettingsRequest
from shoal.cluster.v1.cluster_pb2_grpc import ClusterServiceStub
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap, Member, MemberRole, MemberState
from shoal_core.errors import ControlPlaneDown, DeadlineExceeded, OwnerUnreachable
from shoal_core.objects import Bucket, BucketProperties, BucketReference
from shoal_core.rpc import Channels, call

CHANGE_SECONDS_MAX = 15.0
"""Less than the 20 s after which AIStore's SDK gives up."""


class Proxies:
    """The proxies of the cluster map."""

    def __init__(self, channels: Channels, cluster_map: Callable[[], ClusterMap]) -> None:
        self._channels = channels
        self._cluster_map = cluster_map

    def choose(self) -> tuple[grpc.aio.Channel, str]:
        """The connection to one, and its name in errors. One that is alive if any is; liveness may be out of
        date, so the others are better than none."""
        proxies = [member for member in self._cluster_map().members if member.role is MemberRole.PROXY]
        chosen = min(proxies, key=rank, default=None)
        if chosen is None:
            raise ControlPlaneDown("no proxy has joined the cluster yet: repeat shortly")
        return self._channels.get(chosen.internal_address), f"proxy {chosen.id}"


class ProxyBuckets:
    """Implements `BucketControl` over the proxies of the cluster map."""

    def __init__(self, channels: Channels, cluster_map: Callable[[], ClusterMap]) -> None:
        self._proxies = Proxies(channels, cluster_map)

    async def create(self, reference: BucketReference, properties: BucketProperties | None = None) -> Bucket:
        request = CreateBucketRequest(
            bucket=messages.bucket_reference_to_message(reference),
            properties=given(properties),
        )
        stub, peer = self._proxy()
        with explained(peer):
            response = await call(stub.CreateBucket, request, timeout_seconds=CHANGE_SECONDS_MAX, peer=peer)
        return messages.bucket_from_message(response.bucket)

    async def update(self, reference: BucketReference, properties: BucketProperties) -> Bucket:
        request = UpdateBucketRequest(
            bucket=messages.bucket_reference_to_message(reference),
            properties=messages.bucket_properties_to_message(properties),
        )
        stub, peer = self._proxy()
        with explained(peer):
            response = await call(stub.UpdateBucket, request, timeout_seconds=CHANGE_SECONDS_MAX, peer=peer)
        return messages.bucket_from_message(response.bucket)

    async def delete(self, reference: BucketReference) -> None:
        request = DeleteBucketRequest(bucket=messages.bucket_reference_to_message(reference))
        stub, peer = self._proxy()
        with explained(peer):
            await call(stub.DeleteBucket, request, timeout_seconds=CHANGE_SECONDS_MAX, peer=peer)

    async def defaults(self) -> BucketProperties:
        channel, peer = self._proxies.choose()
        with explained(peer):
            response = await call(
                ClusterServiceStub(channel).GetSettings,
                GetSettingsRequest(),
                timeout_seconds=CHANGE_SECONDS_MAX,
                idempotent=True,
                peer=peer,
            )
        return messages.bucket_properties_from_message(response.settings.bucket_defaults)

    async def set_defaults(self, properties: BucketProperties) -> None:
        settings = Settings(bucket_defaults=messages.bucket_properties_to_message(properties))
        channel, peer = self._proxies.choose()
        with explained(peer):
            await call(
                ClusterServiceStub(channel).UpdateSettings,
                UpdateSettingsRequest(settings=settings),
                timeout_seconds=CHANGE_SECONDS_MAX,
                idempotent=True,
                peer=peer,
            )

    def _proxy(self) -> tuple[BucketServiceStub, str]:
        channel, peer = self._proxies.choose()
        return BucketServiceStub(channel), peer


def given(properties: BucketProperties | None) -> bucket_pb2.BucketProperties | None:
    return None if properties is None else messages.bucket_properties_to_message(properties)


def rank(member: Member) -> tuple[bool, bool, str]:
    return (not member.alive, member.state is not MemberState.ACTIVE, member.id)


class explained:
    """Says what it means to the user that the proxy, or etcd behind it, gave no answer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DeadlineExceeded | OwnerUnreachable):
            raise ControlPlaneDown(
                f"{self._peer} gave no answer (it may be restarting, or etcd may be away), so whether the "
                "bucket was changed is not known: look, and repeat; objects can be read meanwhile"
            ) from error
