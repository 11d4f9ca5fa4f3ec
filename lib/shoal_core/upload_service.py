"""`UploadServicer`: the gRPC service of multipart uploads over any `MultipartStore`; see `object_service`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar

from google.protobuf.message import Message

from shoal.object.v1 import upload_pb2, upload_pb2_grpc
from shoal_core import messages
from shoal_core.access import Permission
from shoal_core.body_stream import IDLE_SECONDS_MAX, UploadedBody, check_checksums, check_headers
from shoal_core.bucket_admission import Admission, BucketAdmission, BucketResolver
from shoal_core.errors import InvalidArgument, PermissionDenied
from shoal_core.multipart import (
    PARTS_MAX,
    Completion,
    MultipartStore,
    PartChoice,
    PartInfo,
    UploadInfo,
    UploadQuery,
)
from shoal_core.object_service import CONTENT_TYPE_DEFAULT, PAGE_BYTES_MAX
from shoal_core.objects import PutRequest
from shoal_core.rpc import Context, current_principal

PAGE_UPLOADS_MAX = 1000
PAGE_PARTS_DEFAULT = 1000
UPLOAD_ID_CHARACTERS = 32

M = TypeVar("M", bound=Message)


class UploadServicer(upload_pb2_grpc.UploadServiceServicer):
    """Uploads of `store`. `admit` refuses callers that routed by an old view (targets only)."""

    def __init__(
        self,
        store: MultipartStore,
        buckets: BucketResolver,
        *,
        admit: Admission | None = None,
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        self._store = store
        self._admission = BucketAdmission(buckets, admit=admit)
        self._idle_seconds = idle_seconds

    async def BeginUpload(
        self, request: upload_pb2.BeginUploadRequest, context: Context
    ) -> upload_pb2.BeginUploadResponse:
        metadata, headers = dict(request.metadata), dict(request.headers)
        check_headers(metadata, headers)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.PUT)
        put = PutRequest(
            name=request.name,
            content_type=request.content_type or CONTENT_TYPE_DEFAULT,
            metadata=metadata,
            headers=headers,
        )
        upload = await self._store.begin_upload(bucket, put)
        return upload_pb2.BeginUploadResponse(upload=messages.upload_to_message(upload))

    async def PutPart(
        self, request_iterator: AsyncIterator[upload_pb2.PutPartRequest], context: Context
    ) -> upload_pb2.PutPartResponse:
        uploaded = UploadedBody(request_iterator, idle_seconds=self._idle_seconds)
        part = (await uploaded.first()).specification
        request = part_request(part, uploaded)
        bucket = await self._admission.bucket(part.bucket, part.routing, Permission.PUT)
        async with aclosing(uploaded.chunks()) as body:
            info = await self._store.put_part(bucket, part.upload_id, part.part_number, request, body)
        return upload_pb2.PutPartResponse(part=messages.part_to_message(info))

    async def CompleteUpload(
        self, request: upload_pb2.CompleteUploadRequest, context: Context
    ) -> upload_pb2.CompleteUploadResponse:
        completion = completion_of(request)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.PUT)
        info = await self._store.complete_upload(bucket, request.name, request.upload_id, completion)
        return upload_pb2.CompleteUploadResponse(object=messages.object_to_message(info))

    async def AbortUpload(
        self, request: upload_pb2.AbortUploadRequest, context: Context
    ) -> upload_pb2.AbortUploadResponse:
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.PUT)
        await self._store.abort_upload(bucket, request.name, request.upload_id)
        return upload_pb2.AbortUploadResponse()

    async def ListUploads(
        self, request: upload_pb2.ListUploadsRequest, context: Context
    ) -> upload_pb2.ListUploadsResponse:
        query = upload_query(request)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.LIST_OBJECTS)
        page = await self._store.list_uploads(bucket, query)
        shown = fitting(messages.upload_to_message(upload) for upload in page.uploads)
        more = page.more or len(shown) < len(page.uploads)
        token = f"{shown[-1].id}{shown[-1].name}" if more and shown else ""
        return upload_pb2.ListUploadsResponse(uploads=shown, next_page_token=token)

    async def ListParts(
        self, request: upload_pb2.ListPartsRequest, context: Context
    ) -> upload_pb2.ListPartsResponse:
        limit = page_size(request.page_size, default=PAGE_PARTS_DEFAULT, largest=PARTS_MAX)
        after = part_number_of(request.page_token)
        bucket = await self._admission.bucket(request.bucket, request.routing, Permission.GET)
        upload, parts = await self._store.list_parts(bucket, request.name, request.upload_id)
        return parts_message(upload, [part for part in parts if part.number > after], limit=limit)


def part_request(
    part: upload_pb2.PutPartSpecification, uploaded: UploadedBody[upload_pb2.PutPartRequest]
) -> PutRequest:
    """The specification as the store takes it. Raises InvalidArgument."""
    if part.HasField("size") and part.size < 0:
        raise InvalidArgument(f"size is {part.size}; it must not be negative", field="size")
    headers = dict(part.headers)
    check_headers({}, headers)
    check_checksums(part.checksums)
    return PutRequest(
        name=part.name,
        size=part.size if part.HasField("size") else None,
        checksums=tuple(messages.checksum_from_message(each) for each in part.checksums),
        headers=headers,
        md5_etag=part.md5_etag,
        late_headers=lambda: uploaded.finish_headers,
    )


def completion_of(request: upload_pb2.CompleteUploadRequest) -> Completion:
    """Raises InvalidArgument."""
    if request.etag and current_principal().kind != "node":
        raise PermissionDenied("only nodes of the cluster set an etag; leave it out", field="etag")
    if len(request.parts) > PARTS_MAX:
        raise InvalidArgument(f"an upload has at most {PARTS_MAX} parts", field="parts")
    headers = dict(request.headers)
    check_headers({}, headers)
    choices = tuple(PartChoice(part.number, part.etag) for part in request.parts)
    return Completion(
        choices,
        request.etag,
        headers,
        messages.preconditions_from_message(request.preconditions),
    )


def upload_query(request: upload_pb2.ListUploadsRequest) -> UploadQuery:
    limit = page_size(request.page_size, default=PAGE_UPLOADS_MAX, largest=PAGE_UPLOADS_MAX)
    name, id = request.after_name, request.after_upload_id
    if request.page_token:
        id, name = request.page_token[:UPLOAD_ID_CHARACTERS], request.page_token[UPLOAD_ID_CHARACTERS:]
    return UploadQuery(request.prefix, name, id, limit)


def page_size(wanted: int, *, default: int, largest: int) -> int:
    if not 0 <= wanted <= largest:
        raise InvalidArgument(
            f"page_size is {wanted}; use 1 to {largest}, or 0 for {default}", field="page_size"
        )
    return wanted or default


def part_number_of(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdecimal() and len(token) <= len(str(PARTS_MAX))):
        raise InvalidArgument("page_token is none that ListParts gave: leave it out", field="page_token")
    return int(token)


def parts_message(
    upload: UploadInfo, parts: Sequence[PartInfo], *, limit: int
) -> upload_pb2.ListPartsResponse:
    shown = fitting(messages.part_to_message(part) for part in parts[:limit])
    token = str(shown[-1].number) if shown and len(shown) < len(parts) else ""
    return upload_pb2.ListPartsResponse(
        upload=messages.upload_to_message(upload), parts=shown, next_page_token=token
    )


def fitting(found: Iterable[M]) -> list[M]:
    """The first ones, one at least, that fit into one answer."""
    shown, size = list[M](), 0
    for each in found:
        size += each.ByteSize()
        if size > PAGE_BYTES_MAX and shown:
            break
        shown.append(each)
    return shown
