"""The Python SDK: `ShoalClient` connects to a proxy, learns the cluster map and goes to the targets itself.

async with ShoalClient.connect("127.0.0.1:51081", ca=Path("ca.pem")) as client:
    await client.create_bucket("photos")
    photos = client.bucket("photos")
    await photos.put("cat.jpg", Path("cat.jpg"))
    content = await photos.get("cat.jpg")
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc.aio

from shoal.bucket.v1.bucket_pb2 import (
    CreateBucketRequest,
    DeleteBucketRequest,
    GetBucketRequest,
    ListBucketsRequest,
    UpdateBucketRequest,
)
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal_archive.archives import Archives
from shoal_archive.batch import BatchReader, Item, Streams
from shoal_client.batch import BatchItem, BatchResult, one_stream, result_of, streams_of
from shoal_client.bucket import BucketClient
from shoal_client.cluster import FollowedClusterMap, proxy_is_control_plane
from shoal_client.jobs import JobsClient
from shoal_client.lanes import Lane
from shoal_client.mountpaths import MountpathsClient
from shoal_core import messages
from shoal_core.certificates import TlsFiles
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.multipart import MultipartStore
from shoal_core.names import checked_object_name
from shoal_core.objects import Bucket, BucketProperties, BucketReference
from shoal_core.rpc import Channels, call

Request = TypeVar("Request")
Response = TypeVar("Response")

CHANGE_SECONDS_MAX = 30.0
LOOKUP_SECONDS_MAX = 10.0
BUCKETS_PAGE = 1000
KNOWN_BUCKETS_MAX = 10_000
LANES_MAX = 64


class ShoalClient:
    """One client for a whole program: it is safe to use from any number of tasks of one event loop."""

    @staticmethod
    def connect(address: str, *, ca: Path | str, direct: bool = True) -> ShoalClient:
        """Use as `async with`. `address` is a proxy's `host:port`, `ca` the cluster's `ca.pem`.

        With `direct=False` everything goes through the proxy, for clients that cannot reach the targets.
        """
        return ShoalClient(address, TlsFiles(Path(ca)), direct=direct)

    def __init__(self, address: str, tls: TlsFiles, *, direct: bool) -> None:
        self._peer = f"proxy {address}"
        self._address = address
        self._tls = tls
        self._direct = direct
        self._known_buckets: dict[BucketReference, Bucket] = {}
        self._lanes: list[Lane] = []

    async def __aenter__(self) -> ShoalClient:
        # Channels belong to the running event loop, so they are made here and not in the constructor.
        self._channels = Channels(self._tls)
        channel = self._channels.get(self._address)
        self._buckets = BucketServiceStub(channel)
        self._jobs = JobsClient(channel, peer=self._peer)
        self._mountpaths = MountpathsClient(channel, peer=self._peer)
        self._cluster = FollowedClusterMap(channel, peer=self._peer)
        try:
            await self._cluster.start()
        except BaseException:
            await self.close()
            raise
        self._lanes = [self._lane_through(self._channels)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._cluster.close()
        for lane in self._lanes[1:]:
            await lane.close()
        await self._channels.close()

    @property
    def cluster_map(self) -> ClusterMap:
        """Members and placement as last heard from the proxy."""
        return self._cluster.current

    @property
    def jobs(self) -> JobsClient:
        """What works in the background: purges of removed buckets, scrubs, rechunks."""
        return self._jobs

    @property
    def mountpaths(self) -> MountpathsClient:
        """The disks of targets, for operators."""
        return self._mountpaths

    @property
    def objects(self) -> MultipartStore:
        """The layer under `bucket(...)`, for programs that work with `MultipartStore` themselves."""
        return self._lanes[0].objects

    def lane(self, number: int) -> MultipartStore:
        """As `objects`, through connections of its own for each number but 0; kept until the client closes."""
        if not 0 <= number < LANES_MAX:
            raise ValueError(f"lane {number} was asked for; there are {LANES_MAX}")
        while len(self._lanes) <= number:
            self._lanes.append(self._lane_through(Channels(self._tls)))
        return self._lanes[number].objects

    def bucket(self, bucket: str | BucketReference) -> BucketClient:
        """The objects of a bucket. Makes no call: a bucket that does not exist shows at its first use."""
        return BucketClient(self, as_reference(bucket))

    async def create_bucket(
        self, bucket: str | BucketReference, *, properties: BucketProperties | None = None
    ) -> Bucket:
        """Without properties it has the cluster's defaults. Raises BucketAlreadyExists.

        Usable through every gateway and client once this returns."""
        request = CreateBucketRequest(
            bucket=messages.bucket_reference_to_message(as_reference(bucket)),
            properties=messages.bucket_properties_to_message(properties) if properties else None,
        )
        response = await self._changed(self._buckets.CreateBucket, request)
        return self._remembered(messages.bucket_from_message(response.bucket))

    async def update_bucket(self, bucket: str | BucketReference, **changes: str | int | bool) -> Bucket:
        """Set the properties (fields of BucketProperties) that are named. Raises BucketNotFound, InvalidArgument, and
        Conflict when somebody else changed them meanwhile."""
        current = await self.resolve(as_reference(bucket), fresh=True)
        properties = replace(current.properties, **changes)  # type: ignore[arg-type]  # the server checks them
        request = UpdateBucketRequest(
            bucket=messages.bucket_reference_to_message(current.reference),
            properties=messages.bucket_properties_to_message(properties),
            expected_generation=current.generation,
        )
        response = await self._changed(self._buckets.UpdateBucket, request)
        return self._remembered(messages.bucket_from_message(response.bucket))

    async def delete_bucket(self, bucket: str | BucketReference) -> str:
        """Remove a bucket with all its objects; returns the id of the job that frees their space."""
        reference = as_reference(bucket)
        self._known_buckets.pop(reference, None)
        request = DeleteBucketRequest(bucket=messages.bucket_reference_to_message(reference))
        response = await self._changed(self._buckets.DeleteBucket, request)
        return response.job_id

    async def list_buckets(self, provider: str = "") -> Sequence[Bucket]:
        """All buckets (of a provider), sorted by provider, namespace and name."""
        buckets: list[Bucket] = []
        token = ""
        while True:
            request = ListBucketsRequest(provider=provider, page_size=BUCKETS_PAGE, page_token=token)
            response = await self._looked_up(self._buckets.ListBuckets, request)
            buckets.extend(messages.bucket_from_message(bucket) for bucket in response.buckets)
            token = response.next_page_token
            if not token:
                return buckets

    async def read_batch(self, items: Sequence[BatchItem]) -> AsyncGenerator[BatchResult, None]:
        """Each item's bytes, or why it cannot be read, in the order of `items`; the targets read ahead, boundedly.

        Raises BucketNotFound, InvalidName, and InvalidArgument for ranges that are none.
        """
        wanted = [await self._item(item) for item in items]
        store = self.objects
        reader = BatchReader(store, Archives(store), elsewhere=self._batch_streams)
        async with aclosing(reader.begin(wanted).entries()) as groups:
            async for entries in groups:
                for entry in entries:
                    yield await result_of(entry)

    async def _item(self, item: BatchItem) -> Item:
        bucket = await self.resolve(as_reference(item.bucket))
        return Item(bucket, checked_object_name(item.name), item.member, item.start, item.length)

    def _batch_streams(self, items: Sequence[Item]) -> Streams | None:
        if not self._direct:
            return one_stream(items, self._channels.get(self._address), peer=self._peer)

        def channel_of(target: Member) -> grpc.aio.Channel | None:
            return self._channels.get(target.public_address) if target.public_address else None

        return streams_of(items, self.cluster_map, channel_of)

    async def resolve(self, reference: BucketReference, *, fresh: bool = False) -> Bucket:
        """The bucket's record, remembered from the last time unless `fresh`. Raises BucketNotFound."""
        known = self._known_buckets.get(reference)
        if known is not None and not fresh:
            return known
        self._known_buckets.pop(reference, None)
        request = GetBucketRequest(bucket=messages.bucket_reference_to_message(reference))
        response = await self._looked_up(self._buckets.GetBucket, request)
        return self._remembered(messages.bucket_from_message(response.bucket))

    def _lane_through(self, channels: Channels) -> Lane:
        return Lane(channels, self._cluster, proxy_address=self._address, direct=self._direct)

    async def _changed(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        with proxy_is_control_plane():
            return await call(method, request, timeout_seconds=CHANGE_SECONDS_MAX, peer=self._peer)

    async def _looked_up(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        with proxy_is_control_plane():
            return await call(
                method, request, timeout_seconds=LOOKUP_SECONDS_MAX, idempotent=True, peer=self._peer
            )

    def _remembered(self, bucket: Bucket) -> Bucket:
        if len(self._known_buckets) >= KNOWN_BUCKETS_MAX:
            self._known_buckets.clear()
        self._known_buckets[bucket.reference] = bucket
        return bucket


def as_reference(bucket: str | BucketReference) -> BucketReference:
    """`photos`, `ais://photos` or `ais://@uuid#namespace/photos` as users write them."""
    if isinstance(bucket, BucketReference):
        return bucket
    provider, separator, rest = bucket.partition("://")
    if not separator:
        return BucketReference(bucket)
    namespace, separator, name = rest.rpartition("/")
    return BucketReference(name, provider, namespace)
