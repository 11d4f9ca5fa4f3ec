"""The S3 face: from a request to its operation, and from whatever goes wrong to AWS's XML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Scope

from shoal_core.access import authorize
from shoal_core.objects import Bucket
from shoal_core.s3_keys import AccessKeys
from shoal_gateway.call import Call
from shoal_gateway.exchange import Exchange, Headers
from shoal_gateway.failures import failure_of
from shoal_gateway.parts import Parts
from shoal_gateway.s3.answers import error_answer, s3_error
from shoal_gateway.s3.attributes import AttributeOperations
from shoal_gateway.s3.buckets import BucketOperations
from shoal_gateway.s3.copying import CopyOperations
from shoal_gateway.s3.deleting import DeleteOperations
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.listing import ListOperations
from shoal_gateway.s3.objects import ObjectOperations
from shoal_gateway.s3.operations import PERMISSIONS, operation_of
from shoal_gateway.s3.requests import S3Request, authenticated
from shoal_gateway.s3.uploads import UploadOperations

ServiceHandler = Callable[[S3Request], Awaitable[None]]
BucketHandler = Callable[[Bucket, S3Request], Awaitable[None]]

OTHER_FACES = (b"/v1/", b"/-/", b"/.well-known/")


def is_s3(raw_path: bytes) -> bool:
    """Everything that no other face of the port owns; no bucket can have one of their names."""
    return not (raw_path + b"/").startswith(OTHER_FACES)


class S3Face:
    """Every S3 request. Authenticates by signature alone, whatever the caller's address."""

    def __init__(self, parts: Parts, *, keys: AccessKeys, region: str) -> None:
        self._parts = parts
        self._keys = keys
        self._region = region
        buckets, objects = BucketOperations(parts, region=region), ObjectOperations(parts)
        listing, uploads = ListOperations(parts), UploadOperations(parts)
        self.service_handlers: Mapping[str, ServiceHandler] = {
            "ListBuckets": buckets.list,
            "CreateBucket": buckets.create,
        }
        """Operations without a bucket that exists."""
        self.bucket_handlers: Mapping[str, BucketHandler] = {
            "HeadBucket": buckets.head,
            "DeleteBucket": buckets.delete,
            "GetBucketLocation": buckets.location,
            "GetBucketVersioning": buckets.versioning,
            "ListObjects": listing.first_version,
            "ListObjectsV2": listing.second_version,
            "DeleteObjects": DeleteOperations(parts).delete_objects,
            "GetObject": objects.get,
            "HeadObject": objects.head,
            "PutObject": objects.put,
            "DeleteObject": objects.delete,
            "GetObjectAttributes": AttributeOperations(parts).get,
            "CopyObject": CopyOperations(parts).copy,
            "CreateMultipartUpload": uploads.create,
            "UploadPart": uploads.part,
            "UploadPartCopy": uploads.copy_part,
            "CompleteMultipartUpload": uploads.complete,
            "AbortMultipartUpload": uploads.abort,
            "ListParts": uploads.list_parts,
            "ListMultipartUploads": uploads.list_uploads,
        }

    async def __call__(self, call: Call, scope: Scope, exchange: Exchange) -> None:
        exchange.common_headers.append((b"x-amz-request-id", call.request_id.encode()))
        request = authenticated(call, scope, exchange, keys=self._keys, region=self._region)
        operation = operation_of(
            call.method, request.bucket, request.key, query=call.query, headers=call.headers
        )
        permission = PERMISSIONS[operation]
        if operation in self.service_handlers:
            authorize(request.principal, permission, call.bucket)
            await self.service_handlers[operation](request)
            return
        bucket = await self._parts.buckets.resolve(
            request.reference, permission=permission, principal=request.principal
        )
        await self.bucket_handlers[operation](bucket, request)


def s3_failure(error: Exception, call: Call) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to what went wrong."""
    if not isinstance(error, S3Error):
        error = s3_error(failure_of(error, call), call)
    return error_answer(error, call)
