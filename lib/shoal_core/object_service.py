"""`ObjectServicer`: the gRPC object service over any `ObjectStore`; targets and proxies serve the same one.

Handlers check, call the store and fill the answer; the gate in front of them (`rpc_gate`) words errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

from google.api import httpbody_pb2

from shoal.object.v1 import object_pb2, object_pb2_grpc
from shoal_core import messages
from shoal_core.access import Permission
from shoal_core.body_stream import (
    IDLE_SECONDS_MAX,
    UploadedBody,
    check_checksums,
    check_headers,
    fill_frame,
)
from shoal_core.bucket_admission import Admission, BucketAdmission, BucketResolver
from shoal_core.errors import (
    InvalidArgument,
    PermissionDenied,
)
from shoal_core.objects import (
    Bucket,
    CopyRequest,
    Description,
    ListPage,
    ListQuery,
    ObjectStore,
    PutRequest,
    RangeRequest,
)
from shoal_core.rpc import Context, current_principal

PAGE_ENTRIES_DEFAULT = 1000
PAGE_ENTRIES_MAX = 10_000
PAGE_BYTES_MAX = 3 << 20
"""Pages are cut here, below the limit on one message: records can be 10 KiB each."""
CONTENT_TYPE_DEFAULT = "application/octet-stream"

Uploads = AsyncIterator[object_pb2.PutObjectRequest]


class ObjectServicer(object_pb2_grpc.ObjectServiceServicer):
    """Objects of `store`. `admit` refuses callers that routed by an old view (targets only)."""

    def __init__(
        self,
        store: ObjectStore,
        buckets: BucketResolver,
        *,
        admit: Admission | None = None,
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        self._store = store
        self._admission = BucketAdmission(buckets, admit=admit)
        self._idle_seconds = idle_seconds

    async def PutObject(self, request_iterator: Uploads, context: Context) -> object_pb2.PutObjectResponse:
        uploaded = UploadedBody(request_iterator, idle_seconds=self._idle_seconds)
        specification = (await uploaded.first()).specification
        request = put_request(specification, late_headers=lambda: uploaded.finish_headers)
        bucket = await self._admission.bucket(specification.bucket, specification.routing, Permission.PUT)
        async with aclosing(uploaded.chunks()) as body:
            info = await self._store.put(bucket, request, body)
        return object_pb2.PutObjectResponse(object=messages.object_to_message(info))

    async def GetObject(
        self, request: object_pb2.GetObjectRequest, context: Context
    ) -> AsyncIterator[object_pb2.GetObjectResponse]:
        wanted = range_request(request)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.GET)
        body = await self._store.open(
            bucket,
            request.name,
            range=wanted,
            preconditions=messages.preconditions_from_message(request.preconditions),
        )
        try:
            yield object_pb2.GetObjectResponse(object=messages.object_to_message(body.info))
            offset = body.range.offset if body.range else 0
            async for data in body.chunks():
                response = object_pb2.GetObjectResponse()
                fill_frame(response.frame, data, offset=offset)
                yield response
                offset += len(data)
        finally:
            await body.close()

    async def DownloadObject(
        self, request: object_pb2.DownloadObjectRequest, context: Context
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        wanted = range_request(request)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.GET)
        preconditions = messages.preconditions_from_message(request.preconditions)
        body = await self._store.open(bucket, request.name, range=wanted, preconditions=preconditions)
        content_type = body.info.content_type
        try:
            async for data in body.chunks():
                yield httpbody_pb2.HttpBody(content_type=content_type, data=data)
                content_type = ""
            if content_type:
                yield httpbody_pb2.HttpBody(content_type=content_type)
        finally:
            await body.close()

    async def HeadObject(
        self, request: object_pb2.HeadObjectRequest, context: Context
    ) -> object_pb2.HeadObjectResponse:
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.HEAD_OBJECT)
        preconditions = messages.preconditions_from_message(request.preconditions)
        info = await self._store.head(bucket, request.name, preconditions=preconditions)
        return object_pb2.HeadObjectResponse(object=messages.object_to_message(info))

    async def DeleteObject(
        self, request: object_pb2.DeleteObjectRequest, context: Context
    ) -> object_pb2.DeleteObjectResponse:
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.DELETE_OBJECT)
        preconditions = messages.preconditions_from_message(request.preconditions)
        info = await self._store.delete(bucket, request.name, preconditions=preconditions)
        return object_pb2.DeleteObjectResponse(object=messages.object_to_message(info))

    async def CopyObject(
        self, request: object_pb2.CopyObjectRequest, context: Context
    ) -> object_pb2.CopyObjectResponse:
        copy = copy_request(
            request,
            await self._admission.bucket(request.source_bucket, request.source_routing, Permission.GET),
        )
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.PUT)
        info = await self._store.copy(bucket, copy)
        return object_pb2.CopyObjectResponse(object=messages.object_to_message(info))

    async def AnnotateObject(
        self, request: object_pb2.AnnotateObjectRequest, context: Context
    ) -> object_pb2.AnnotateObjectResponse:
        metadata = dict(request.metadata)
        check_headers(metadata, {})
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.UPDATE_OBJECT)
        preconditions = messages.preconditions_from_message(request.preconditions)
        info = await self._store.annotate(
            bucket, request.name, metadata, replace=request.replace, preconditions=preconditions
        )
        return object_pb2.AnnotateObjectResponse(object=messages.object_to_message(info))

    async def ListObjects(
        self, request: object_pb2.ListObjectsRequest, context: Context
    ) -> object_pb2.ListObjectsResponse:
        query = list_query(request)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.LIST_OBJECTS)
        return page_message(await self._store.list(bucket, query))


def put_request(
    specification: object_pb2.PutObjectSpecification, *, late_headers: Callable[[], Mapping[str, str]] = dict
) -> PutRequest:
    """The specification as the store takes it. Raises InvalidArgument."""
    if specification.HasField("size") and specification.size < 0:
        raise InvalidArgument(f"size is {specification.size}; it must not be negative", field="size")
    if specification.etag and current_principal().kind != "node":
        raise PermissionDenied("only nodes of the cluster set an etag; leave it out", field="etag")
    metadata, headers = dict(specification.metadata), dict(specification.headers)
    check_headers(metadata, headers)
    check_checksums(specification.checksums)
    return PutRequest(
        name=specification.name,
        size=specification.size if specification.HasField("size") else None,
        content_type=specification.content_type or CONTENT_TYPE_DEFAULT,
        metadata=metadata,
        checksums=tuple(messages.checksum_from_message(each) for each in specification.checksums),
        etag=specification.etag or None,
        preconditions=messages.preconditions_from_message(specification.preconditions),
        headers=headers,
        md5_etag=specification.md5_etag,
        late_headers=late_headers,
    )


def copy_request(request: object_pb2.CopyObjectRequest, source: Bucket) -> CopyRequest:
    """Raises InvalidArgument."""
    given = request.description if request.HasField("description") else None
    if given is not None:
        check_headers(given.metadata, given.headers)
    return CopyRequest(
        source=source,
        source_name=request.source_name,
        name=request.name,
        description=given
        and Description(
            given.content_type or CONTENT_TYPE_DEFAULT, dict(given.metadata), dict(given.headers)
        ),
        preconditions=messages.preconditions_from_message(request.preconditions),
        source_preconditions=messages.preconditions_from_message(request.source_preconditions),
    )


def range_request(
    request: object_pb2.GetObjectRequest | object_pb2.DownloadObjectRequest,
) -> RangeRequest | None:
    if request.length < 0:
        raise InvalidArgument(f"length is {request.length}; it must not be negative", field="length")
    if request.offset < 0:
        if request.length:
            raise InvalidArgument("a range from the end has no length of its own; send 0", field="length")
        return RangeRequest(None, -request.offset)
    if not request.offset and not request.length:
        return None
    last = request.offset + request.length - 1 if request.length else None
    return RangeRequest(request.offset, last)


def list_query(request: object_pb2.ListObjectsRequest) -> ListQuery:
    if not 0 <= request.page_size <= PAGE_ENTRIES_MAX:
        raise InvalidArgument(
            f"page_size is {request.page_size}; use 1 to {PAGE_ENTRIES_MAX}, or 0 for {PAGE_ENTRIES_DEFAULT}",
            field="page_size",
        )
    return ListQuery(
        prefix=request.prefix,
        delimiter=request.delimiter,
        start_after=request.page_token or request.start_after,
        limit=request.page_size or PAGE_ENTRIES_DEFAULT,
    )


def page_message(page: ListPage) -> object_pb2.ListObjectsResponse:
    """The page as a message, cut where it would grow too large for one; the next page goes on from there."""
    entries = {info.name.encode(): info for info in page.entries}
    prefixes = {prefix.encode(): prefix for prefix in page.prefixes}
    response = object_pb2.ListObjectsResponse()
    size, last = 0, ""
    for key in sorted([*entries, *prefixes]):
        info = entries.get(key)
        record = messages.object_to_message(info) if info is not None else None
        size += record.ByteSize() if record is not None else len(key)
        if size > PAGE_BYTES_MAX and last:
            response.next_page_token = last
            return response
        if record is not None:
            response.objects.append(record)
        else:
            response.prefixes.append(prefixes[key])
        last = key.decode()
    response.next_page_token = page.next_after
    return response
