"""The operations on buckets as such."""

from __future__ import annotations

import re
from contextlib import suppress

from shoal_core.errors import BucketAlreadyExists
from shoal_core.objects import Bucket, ListQuery
from shoal_gateway.parts import Parts
from shoal_gateway.s3.answers import OWNER, answer_xml
from shoal_gateway.s3.bodies import small_body
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.signature import FALLBACK_REGION
from shoal_gateway.s3.times import timestamp
from shoal_gateway.s3.xml import document, element, leaf, parse

BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class BucketOperations:
    def __init__(self, parts: Parts, *, region: str) -> None:
        self._parts = parts
        self._region = region

    async def list(self, request: S3Request) -> None:
        buckets = [bucket for bucket in self._parts.buckets.list("ais") if not bucket.reference.namespace]
        shown = [
            element(
                "Bucket", leaf("Name", each.reference.name), leaf("CreationDate", timestamp(each.created_ns))
            )
            for each in buckets
        ]
        await answer_xml(request, document("ListAllMyBucketsResult", OWNER, element("Buckets", *shown)))

    async def create(self, request: S3Request) -> None:
        """Of one's own bucket that is there already: success, as in AWS's first region."""
        if not BUCKET_NAME.fullmatch(request.bucket) or ".." in request.bucket:
            raise S3Error(
                "InvalidBucketName", "The specified bucket is not valid.", BucketName=request.bucket[:80]
            )
        self._check_location(await small_body(request))
        with suppress(BucketAlreadyExists):
            await self._parts.control.create(request.reference)
        location = (b"location", f"/{request.bucket}".encode())
        await request.exchange.answer(200, [location, (b"content-length", b"0")])

    def _check_location(self, body: bytes) -> None:
        if not body.strip():
            return
        wanted = parse(body, "CreateBucketConfiguration").value("LocationConstraint")
        if wanted not in (None, "", FALLBACK_REGION, self._region):
            raise S3Error(
                "IllegalLocationConstraintException",
                f"The {wanted} location constraint is incompatible for the region specific endpoint "
                "this request was sent to.",
            )

    async def head(self, bucket: Bucket, request: S3Request) -> None:
        await request.exchange.answer(200, [(b"x-amz-bucket-region", self._region.encode())])

    async def delete(self, bucket: Bucket, request: S3Request) -> None:
        """Refused while an object is there. One that is written at this very moment may go with the bucket."""
        page = await self._parts.objects.list(bucket, ListQuery(limit=1))
        if page.entries:
            raise S3Error(
                "BucketNotEmpty", "The bucket you tried to delete is not empty", BucketName=request.bucket
            )
        await self._parts.control.delete(bucket.reference)
        await request.exchange.answer(204, [])

    async def location(self, bucket: Bucket, request: S3Request) -> None:
        """AWS's first region has no name here."""
        content = "" if self._region == FALLBACK_REGION else self._region
        await answer_xml(request, document("LocationConstraint", content))

    async def versioning(self, bucket: Bucket, request: S3Request) -> None:
        """Old versions cannot be reached through S3 yet, so no bucket claims to keep them for its clients."""
        await answer_xml(request, document("VersioningConfiguration"))
