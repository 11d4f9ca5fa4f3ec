"""`RemoteUploads`: multipart uploads of one peer over gRPC; `RemoteObjectStore` adds whole objects to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import grpc.aio

from shoal.object.v1.object_pb2 import PutObjectFinish, Routing
from shoal.object.v1.upload_pb2 import (
    AbortUploadRequest,
    BeginUploadRequest,
    CompleteUploadRequest,
    ListPartsRequest,
    ListUploadsRequest,
    PartChoice,
    PutPartRequest,
    PutPartResponse,
    PutPartSpecification,
)
from shoal.object.v1.upload_pb2_grpc import UploadServiceStub
from shoal_client.frames import pieces_of_frame_size
from shoal_client.upload import Upload
from shoal_core import messages
from shoal_core.body_stream import fill_frame
from shoal_core.errors import InvalidArgument
from shoal_core.multipart import PARTS_MAX, Completion, PartInfo, UploadInfo, UploadPage, UploadQuery
from shoal_core.names import checked_object_name
from shoal_core.objects import Bucket, ObjectInfo, PutRequest
from shoal_core.rpc import call, stream_metadata

Request = TypeVar("Request")
Response = TypeVar("Response")

UNARY_SECONDS_MAX = 30.0
COMPLETION_SECONDS_MAX = 60.0
"""One completion may wait for another, and syncs a manifest."""
PAGE_UPLOADS_MAX = 1000


class RemoteUploads:
    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        peer: str,
        epoch: Callable[[], int] | None,
        idle_seconds: float,
    ) -> None:
        self._uploads = UploadServiceStub(channel)
        self._peer = peer
        self._epoch = epoch
        self._idle_seconds = idle_seconds

    async def begin_upload(self, bucket: Bucket, request: PutRequest) -> UploadInfo:
        message = BeginUploadRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(request.name),
            content_type=request.content_type,
            metadata=request.metadata,
            headers=request.headers,
            routing=self._routing(bucket),
        )
        # Not idempotent: a repeated one would leave an upload that nobody knows.
        response = await self._ask(self._uploads.BeginUpload, message)
        return messages.upload_from_message(response.upload)

    async def put_part(
        self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        if not 1 <= number <= PARTS_MAX:
            raise InvalidArgument(f"a part has a number from 1 to {PARTS_MAX}, not {number}")
        specification = PutPartSpecification(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(request.name),
            upload_id=upload_id,
            part_number=number,
            size=request.size,
            checksums=[messages.checksum_to_message(checksum) for checksum in request.checksums],
            headers=request.headers,
            md5_etag=request.md5_etag,
            routing=self._routing(bucket),
        )
        stream = Upload(
            self._uploads.PutPart(metadata=stream_metadata()),
            peer=self._peer,
            idle_seconds=self._idle_seconds,
        )
        try:
            response = await send_part(stream, specification, request, body)
        except BaseException:
            stream.cancel()
            raise
        return messages.part_from_message(response.part)

    async def complete_upload(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion
    ) -> ObjectInfo:
        request = CompleteUploadRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            upload_id=upload_id,
            parts=[PartChoice(number=part.number, etag=part.etag) for part in completion.parts],
            headers=completion.headers,
            preconditions=messages.preconditions_to_message(completion.preconditions),
            etag=completion.given_etag,
            routing=self._routing(bucket),
        )
        response = await self._ask(
            self._uploads.CompleteUpload, request, idempotent=True, timeout_seconds=COMPLETION_SECONDS_MAX
        )
        return messages.object_from_message(response.object)

    async def abort_upload(self, bucket: Bucket, name: str, upload_id: str) -> None:
        request = AbortUploadRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            upload_id=upload_id,
            routing=self._routing(bucket),
        )
        await self._ask(self._uploads.AbortUpload, request)

    async def list_uploads(self, bucket: Bucket, query: UploadQuery) -> UploadPage:
        if query.limit < 1:
            raise InvalidArgument(f"a page of {query.limit} uploads was asked for; ask for 1 or more")
        request = ListUploadsRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            prefix=query.prefix,
            after_name=query.after_name,
            after_upload_id=query.after_id,
            page_size=min(query.limit, PAGE_UPLOADS_MAX),
            routing=self._routing(bucket),
        )
        response = await self._ask(self._uploads.ListUploads, request, idempotent=True)
        uploads = tuple(messages.upload_from_message(upload) for upload in response.uploads)
        return UploadPage(uploads, bool(response.next_page_token))

    async def list_parts(
        self, bucket: Bucket, name: str, upload_id: str
    ) -> tuple[UploadInfo, tuple[PartInfo, ...]]:
        request = ListPartsRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            upload_id=upload_id,
            page_size=PARTS_MAX,
            routing=self._routing(bucket),
        )
        parts: list[PartInfo] = []
        while True:
            response = await self._ask(self._uploads.ListParts, request, idempotent=True)
            parts += [messages.part_from_message(part) for part in response.parts]
            if not response.next_page_token:
                return messages.upload_from_message(response.upload), tuple(parts)
            request.page_token = response.next_page_token

    async def _ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        idempotent: bool = False,
        timeout_seconds: float = UNARY_SECONDS_MAX,
    ) -> Response:
        return await call(
            method, request, timeout_seconds=timeout_seconds, idempotent=idempotent, peer=self._peer
        )

    def _routing(self, bucket: Bucket) -> Routing | None:
        if self._epoch is None:
            return None
        return Routing(
            placement_epoch=self._epoch(), bucket_id=bucket.id, bucket_generation=bucket.generation
        )


async def send_part(
    stream: Upload[PutPartRequest, PutPartResponse],
    specification: PutPartSpecification,
    request: PutRequest,
    body: AsyncIterator[bytes],
) -> PutPartResponse:
    await stream.write(PutPartRequest(specification=specification))
    sent = 0
    async for data in pieces_of_frame_size(body):
        message = PutPartRequest()
        fill_frame(message.frame, data, offset=sent)
        await stream.write(message)
        sent += len(data)
    await stream.write(PutPartRequest(finish=PutObjectFinish(size=sent, headers=request.late_headers())))
    return await stream.finish()
