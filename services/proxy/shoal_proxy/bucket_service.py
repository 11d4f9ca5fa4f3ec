"""Buckets as users see and change them."""

from __future__ import annotations

from shoal.bucket.v1 import bucket_pb2, bucket_pb2_grpc
from shoal_core import messages
from shoal_core.access import Permission, authorize
from shoal_core.buckets import BucketDirectory, BucketRegistry
from shoal_core.cluster_settings import SettingsRegistry
from shoal_core.errors import Conflict, InvalidArgument
from shoal_core.objects import Bucket, BucketProperties
from shoal_core.rpc import Context, current_principal
from shoal_proxy.observers import Observers

PAGE_BUCKETS_MAX = 1000
UPDATE_ATTEMPTS = 5
CHECKSUM_TYPES = ("xxhash2", "crc32c", "md5", "sha256", "sha512", "none")


class BucketServicer(bucket_pb2_grpc.BucketServiceServicer):
    """Changes return when all living members have applied them, or after a short wait for those that hang."""

    def __init__(
        self,
        registry: BucketRegistry,
        directory: BucketDirectory,
        settings: SettingsRegistry,
        observers: Observers,
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._settings = settings
        self._observers = observers

    async def CreateBucket(
        self, request: bucket_pb2.CreateBucketRequest, context: Context
    ) -> bucket_pb2.CreateBucketResponse:
        reference = messages.bucket_reference_from_message(request.bucket)
        defaults = (await self._settings.get()).bucket_defaults
        properties = messages.bucket_properties_from_message(request.properties, base=defaults)
        bucket = await self._registry.create(reference, checked(properties))
        await self._observers.wait_for(bucket.generation)
        return bucket_pb2.CreateBucketResponse(bucket=messages.bucket_to_message(bucket))

    async def GetBucket(
        self, request: bucket_pb2.GetBucketRequest, context: Context
    ) -> bucket_pb2.GetBucketResponse:
        bucket = await self._directory.resolve(
            messages.bucket_reference_from_message(request.bucket),
            permission=Permission.HEAD_BUCKET,
            principal=current_principal(),
        )
        return bucket_pb2.GetBucketResponse(bucket=messages.bucket_to_message(bucket))

    async def ListBuckets(
        self, request: bucket_pb2.ListBucketsRequest, context: Context
    ) -> bucket_pb2.ListBucketsResponse:
        if not 0 <= request.page_size <= PAGE_BUCKETS_MAX:
            raise InvalidArgument(
                f"page_size is {request.page_size}; use 1 to {PAGE_BUCKETS_MAX}, or 0 for as many",
                field="page_size",
            )
        size = request.page_size or PAGE_BUCKETS_MAX
        buckets = sorted(self._directory.list(request.provider), key=place)
        rest = [bucket for bucket in buckets if place(bucket) > request.page_token]
        return bucket_pb2.ListBucketsResponse(
            buckets=[messages.bucket_to_message(bucket) for bucket in rest[:size]],
            next_page_token=place(rest[size - 1]) if len(rest) > size else "",
        )

    async def UpdateBucket(
        self, request: bucket_pb2.UpdateBucketRequest, context: Context
    ) -> bucket_pb2.UpdateBucketResponse:
        bucket = await self._updated(request)
        await self._observers.wait_for(bucket.generation)
        return bucket_pb2.UpdateBucketResponse(bucket=messages.bucket_to_message(bucket))

    async def DeleteBucket(
        self, request: bucket_pb2.DeleteBucketRequest, context: Context
    ) -> bucket_pb2.DeleteBucketResponse:
        reference = messages.bucket_reference_from_message(request.bucket)
        job_id, revision = await self._registry.delete(reference)
        await self._observers.wait_for(revision)
        return bucket_pb2.DeleteBucketResponse(job_id=job_id)

    async def RenameBucket(
        self, request: bucket_pb2.RenameBucketRequest, context: Context
    ) -> bucket_pb2.RenameBucketResponse:
        reference = messages.bucket_reference_from_message(request.bucket)
        to = messages.bucket_reference_from_message(request.to_bucket)
        if to.provider != reference.provider:
            raise InvalidArgument(f"{reference} cannot become {to}: that is another provider")
        for each, permission in ((reference, Permission.MOVE_BUCKET), (to, Permission.CREATE_BUCKET)):
            authorize(current_principal(), permission, each)
        bucket, job_id = await self._registry.rename(reference, to)
        await self._observers.wait_for(bucket.generation)
        return bucket_pb2.RenameBucketResponse(bucket=messages.bucket_to_message(bucket), job_id=job_id)

    async def _updated(self, request: bucket_pb2.UpdateBucketRequest) -> Bucket:
        """A caller who expects a generation hears of a conflict; for others the change is applied anew."""
        reference = messages.bucket_reference_from_message(request.bucket)
        conditional = request.HasField("expected_generation")
        for attempts_left in reversed(range(1 if conditional else UPDATE_ATTEMPTS)):
            current = await self._registry.get(reference)
            properties = messages.bucket_properties_from_message(request.properties, base=current.properties)
            expected = request.expected_generation if conditional else current.generation
            try:
                return await self._registry.update(
                    reference, checked(properties), expected_generation=expected
                )
            except Conflict:
                if not attempts_left:
                    raise
        raise AssertionError("the last attempt returns or raises")


def checked(properties: BucketProperties) -> BucketProperties:
    if properties.checksum_type not in CHECKSUM_TYPES:
        raise InvalidArgument(
            f"checksum_type is {properties.checksum_type!r}; use one of {', '.join(CHECKSUM_TYPES)}",
            field="checksum_type",
        )
    return properties


def place(bucket: Bucket) -> str:
    """Where a bucket stands in the list. No part of a reference holds a space."""
    reference = bucket.reference
    return f"{reference.provider} {reference.namespace} {reference.name}"
