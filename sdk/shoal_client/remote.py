"""`RemoteObjectStore`: the objects of one peer over gRPC. The peer is a target, or a proxy that relays.

Bodies travel in frames of 1 MiB, each with a CRC32C that the receiving side checks. Unary calls have a
deadline as a whole; streams may take as long as they move, with a deadline for each message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import grpc.aio

from shoal.object.v1.object_pb2 import (
    AnnotateObjectRequest,
    CopyObjectRequest,
    DeleteObjectRequest,
    GetObjectRequest,
    GetObjectResponse,
    HeadObjectRequest,
    ListObjectsRequest,
    PutObjectFinish,
    PutObjectRequest,
    PutObjectResponse,
    PutObjectSpecification,
)
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_client.frames import checked_data, pieces_of_frame_size
from shoal_client.remote_uploads import RemoteUploads
from shoal_client.upload import Upload
from shoal_core import messages
from shoal_core.body_stream import fill_frame
from shoal_core.errors import DataCorrupt, DeadlineExceeded, InvalidArgument, RangeNotSatisfiable
from shoal_core.names import checked_object_name
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    ByteRange,
    CopyRequest,
    ListPage,
    ListQuery,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_core.rpc import stream_metadata, translate_errors
from shoal_core.rpc_waits import to_its_end

IDLE_SECONDS_MAX = 60.0
"""How long one message of a stream may take; a commit waits for a disk to sync."""
PAGE_ENTRIES_MAX = 10_000
COPY_SECONDS_MAX = 3600.0
"""A proxy that is asked for a copy may have to send it from one target to another."""

Download = grpc.aio.UnaryStreamCall[GetObjectRequest, GetObjectResponse]


class RemoteObjectStore(RemoteUploads):
    """Implements `MultipartStore`. With `epoch` the caller routes by itself, and the peer, a target, refuses a
    stale view; without it the peer is a proxy and finds the owner."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        peer: str,
        epoch: Callable[[], int] | None = None,
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        super().__init__(channel, peer=peer, epoch=epoch, idle_seconds=idle_seconds)
        self._stub = ObjectServiceStub(channel)

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        upload = Upload(
            self._stub.PutObject(metadata=stream_metadata()), peer=self._peer, idle_seconds=self._idle_seconds
        )
        try:
            response = await self._send(upload, bucket, request, body)
        except BaseException:
            # Also when the body itself fails: a stream without its finish message leaves no trace.
            upload.cancel()
            raise
        return messages.object_from_message(response.object)

    async def _send(
        self,
        upload: Upload[PutObjectRequest, PutObjectResponse],
        bucket: Bucket,
        request: PutRequest,
        body: AsyncIterator[bytes],
    ) -> PutObjectResponse:
        await upload.write(PutObjectRequest(specification=self._specification(bucket, request)))
        sent = 0
        async for data in pieces_of_frame_size(body):
            message = PutObjectRequest()
            fill_frame(message.frame, data, offset=sent)
            await upload.write(message)
            sent += len(data)
        await upload.write(
            PutObjectRequest(finish=PutObjectFinish(size=sent, headers=request.late_headers()))
        )
        return await upload.finish()

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> RemoteBody:
        offset, length = await self._wire_range(bucket, name, range)
        request = GetObjectRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            offset=offset,
            length=length,
            preconditions=messages.preconditions_to_message(preconditions),
            routing=self._routing(bucket),
        )
        download = self._stub.GetObject(request, metadata=stream_metadata())
        try:
            return await self._opened(download, range, source=f"{bucket.reference}/{name} from {self._peer}")
        except BaseException:
            download.cancel()
            raise

    async def _opened(self, download: Download, range: RangeRequest | None, *, source: str) -> RemoteBody:
        first = await next_message(download, peer=self._peer, idle_seconds=self._idle_seconds)
        if first is None or first.WhichOneof("message") != "object":
            raise DataCorrupt(f"{source} began without its record; read it again")
        info = messages.object_from_message(first.object)
        resolved = range.resolve(info.size) if range else None
        if range and resolved is None:
            raise out_of_range(info)
        return RemoteBody(
            info, resolved, download, peer=self._peer, idle_seconds=self._idle_seconds, source=source
        )

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        request = HeadObjectRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            preconditions=messages.preconditions_to_message(preconditions),
            routing=self._routing(bucket),
        )
        response = await self._ask(self._stub.HeadObject, request, idempotent=True)
        return messages.object_from_message(response.object)

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        request = DeleteObjectRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            preconditions=messages.preconditions_to_message(preconditions),
            routing=self._routing(bucket),
        )
        # Not idempotent: a repeated delete would report the success of the first one as "not found".
        response = await self._ask(self._stub.DeleteObject, request)
        return messages.object_from_message(response.object)

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        message = CopyObjectRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(request.name),
            source_bucket=messages.bucket_reference_to_message(request.source.reference),
            source_name=checked_object_name(request.source_name),
            description=messages.description_to_message(request.description),
            preconditions=messages.preconditions_to_message(request.preconditions),
            source_preconditions=messages.preconditions_to_message(request.source_preconditions),
            routing=self._routing(bucket),
            source_routing=self._routing(request.source),
        )
        # Not idempotent: the conditions of a repeated copy would meet what the first one has made.
        response = await self._ask(self._stub.CopyObject, message, timeout_seconds=COPY_SECONDS_MAX)
        return messages.object_from_message(response.object)

    async def annotate(
        self,
        bucket: Bucket,
        name: str,
        metadata: Mapping[str, str],
        *,
        replace: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectInfo:
        request = AnnotateObjectRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(name),
            metadata=metadata,
            replace=replace,
            preconditions=messages.preconditions_to_message(preconditions),
            routing=self._routing(bucket),
        )
        response = await self._ask(self._stub.AnnotateObject, request, idempotent=True)
        return messages.object_from_message(response.object)

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        if query.limit < 1:
            raise InvalidArgument(f"a page of {query.limit} names was asked for; ask for 1 or more")
        request = ListObjectsRequest(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            prefix=query.prefix,
            delimiter=query.delimiter,
            start_after=query.start_after,
            page_size=min(query.limit, PAGE_ENTRIES_MAX),
            routing=self._routing(bucket),
        )
        response = await self._ask(self._stub.ListObjects, request, idempotent=True)
        entries = tuple(messages.object_from_message(entry) for entry in response.objects)
        prefixes = tuple(response.prefixes)
        return ListPage(entries, prefixes, continuation(entries, prefixes, response.next_page_token))

    def _specification(self, bucket: Bucket, request: PutRequest) -> PutObjectSpecification:
        return PutObjectSpecification(
            bucket=messages.bucket_reference_to_message(bucket.reference),
            name=checked_object_name(request.name),
            size=request.size,
            content_type=request.content_type,
            metadata=request.metadata,
            checksums=[messages.checksum_to_message(checksum) for checksum in request.checksums],
            preconditions=messages.preconditions_to_message(request.preconditions),
            routing=self._routing(bucket),
            etag=request.etag or "",
            headers=request.headers,
            md5_etag=request.md5_etag,
        )

    async def _wire_range(self, bucket: Bucket, name: str, range: RangeRequest | None) -> tuple[int, int]:
        """Offset and length as GetObjectRequest has them, which cannot say "the last 0 bytes"."""
        if range is None:
            return 0, 0
        if range.first is None:
            if not range.last:
                raise out_of_range(await self.head(bucket, name))
            return -range.last, 0
        if range.last is None:
            return range.first, 0
        if range.last < range.first:
            raise InvalidArgument(f"range {range.first}-{range.last} ends before it begins")
        return range.first, range.last - range.first + 1


class RemoteBody:
    """An object being downloaded. The peer sends no faster than `chunks` is read."""

    def __init__(
        self,
        info: ObjectInfo,
        range: ByteRange | None,
        download: Download,
        *,
        peer: str,
        idle_seconds: float,
        source: str,
    ) -> None:
        self.info = info
        self.range = range
        self._download = download
        self._peer = peer
        self._idle_seconds = idle_seconds
        self._source = source

    async def chunks(self) -> AsyncIterator[bytes]:
        expected = self.range or ByteRange(0, self.info.size)
        position, end = expected.offset, expected.offset + expected.length
        while (message := await self._next_message()) is not None:
            data = checked_data(message.frame, expected_offset=position, source=self._source)
            position += len(data)
            if position > end:
                break
            yield data
        if position != end:
            raise DataCorrupt(f"{self._source} ended at byte {position} instead of {end}; read it again")

    async def close(self) -> None:
        self._download.cancel()

    async def _next_message(self) -> GetObjectResponse | None:
        return await next_message(self._download, peer=self._peer, idle_seconds=self._idle_seconds)


async def next_message(download: Download, *, peer: str, idle_seconds: float) -> GetObjectResponse | None:
    with translate_errors(peer):
        try:
            async with asyncio.timeout(idle_seconds):
                message = await to_its_end(download.read())
        except TimeoutError as error:
            raise DeadlineExceeded(f"{peer} sent nothing for {idle_seconds:g} seconds", peer=peer) from error
    return message if isinstance(message, GetObjectResponse) else None


def continuation(entries: tuple[ObjectInfo, ...], prefixes: tuple[str, ...], token: str) -> str:
    """The place to go on from: the last item shown. The peer's token matters only where it shows none."""
    if not token:
        return ""
    shown = [entry.name for entry in entries[-1:]] + list(prefixes[-1:])
    return max(shown) if shown else token


def out_of_range(info: ObjectInfo) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"{info.name} has {info.size} bytes and none of them lie in the range", size=str(info.size)
    )
