"""GetObject, HeadObject, PutObject and DeleteObject."""

from __future__ import annotations

from contextlib import suppress

from shoal_core.errors import NotModified, ObjectNotFound, PreconditionFailed, RangeNotSatisfiable
from shoal_core.names import checked_object_name
from shoal_core.objects import Bucket, ByteRange, ObjectBody, ObjectInfo, PutRequest, RangeRequest
from shoal_gateway.exchange import Headers
from shoal_gateway.parts import Parts
from shoal_gateway.rest.conditions import parse_preconditions, parse_range
from shoal_gateway.rest.objects import send_pieces
from shoal_gateway.s3.bodies import UploadedBody, content_md5
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.object_headers import (
    checksum_headers,
    content_type,
    kept_headers,
    kept_metadata,
    object_headers,
    validators,
)
from shoal_gateway.s3.part_reads import (
    chosen_part,
    count_headers,
    open_part,
    range_of,
    requested_part,
)
from shoal_gateway.s3.requests import S3Request

KEY_BYTES_MAX = 1024
NO_HEADERS: Headers = []


class ObjectOperations:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def get(self, bucket: Bucket, request: S3Request) -> None:
        if (number := requested_part(request)) is not None:
            return await self._get_part(bucket, request, number)
        requested = requested_range(request)
        preconditions = parse_preconditions(request.call.headers)
        try:
            body = await self._parts.objects.open(
                bucket, request.key, range=requested, preconditions=preconditions
            )
        except NotModified:
            return await self._answer_not_modified(bucket, request)
        try:
            await send_body(body, request)
        finally:
            await body.close()

    async def _get_part(self, bucket: Bucket, request: S3Request, number: int) -> None:
        preconditions = parse_preconditions(request.call.headers)
        try:
            info, body = await open_part(
                self._parts.objects, bucket, request.key, number=number, preconditions=preconditions
            )
        except NotModified:
            return await self._answer_not_modified(bucket, request)
        if body is None:
            return await request.exchange.answer(200, empty_part_headers(info, request))
        try:
            await send_body(body, request, more=count_headers(info))
        finally:
            await body.close()

    async def head(self, bucket: Bucket, request: S3Request) -> None:
        number = requested_part(request)
        preconditions = parse_preconditions(request.call.headers)
        try:
            info = await self._parts.objects.head(bucket, request.key, preconditions=preconditions)
        except NotModified:
            return await self._answer_not_modified(bucket, request)
        if number is not None:
            return await self._head_part(info, request, number)
        requested = requested_range(request)
        part = requested.resolve(info.size) if requested else None
        if requested and part is None:
            raise RangeNotSatisfiable("the range lies outside the object", size=str(info.size))
        status, _, headers = answer_head(info, part, request)
        await request.exchange.answer(status, headers)

    async def _head_part(self, info: ObjectInfo, request: S3Request, number: int) -> None:
        if (part := range_of(chosen_part(info, number))) is None:
            return await request.exchange.answer(200, empty_part_headers(info, request))
        status, _, headers = answer_head(info, part, request)
        await request.exchange.answer(status, [*headers, *count_headers(info)])

    async def put(self, bucket: Bucket, request: S3Request) -> None:
        body = UploadedBody(request)
        preconditions = parse_preconditions(request.call.headers)
        put = PutRequest(
            name=checked_key(request.key),
            size=body.size,
            content_type=content_type(request),
            metadata=kept_metadata(request),
            checksums=content_md5(request),
            preconditions=preconditions,
            headers=kept_headers(request),
            md5_etag=True,
            late_headers=body.late_headers,
        )
        try:
            info = await self._parts.objects.put(bucket, put, aiter(body))
        except PreconditionFailed:
            if preconditions.if_match:
                # Nothing to match is "no such key" in S3; raises exactly that.
                await self._parts.objects.head(bucket, request.key)
            raise
        await request.exchange.answer(200, put_headers(info))

    async def delete(self, bucket: Bucket, request: S3Request) -> None:
        """Deleting what is not there succeeds, as in S3."""
        preconditions = parse_preconditions(request.call.headers)
        if preconditions.if_match:
            await self._parts.objects.delete(bucket, request.key, preconditions=preconditions)
        else:
            with suppress(ObjectNotFound):
                await self._parts.objects.delete(bucket, checked_key(request.key))
        await request.exchange.answer(204, [])

    async def _answer_not_modified(self, bucket: Bucket, request: S3Request) -> None:
        info = await self._parts.objects.head(bucket, request.key)
        await request.exchange.answer(304, validators(info))


def put_headers(info: ObjectInfo) -> Headers:
    return [*validators(info)[:1], *checksum_headers(info.headers), (b"content-length", b"0")]


def checked_key(key: str) -> str:
    size = len(key.encode())
    if size > KEY_BYTES_MAX:
        raise S3Error(
            "KeyTooLongError", "Your key is too long", Size=str(size), MaxSizeAllowed=str(KEY_BYTES_MAX)
        )
    return checked_object_name(key)


def requested_range(request: S3Request) -> RangeRequest | None:
    """S3 overlooks ranges that it cannot read, and several of them."""
    try:
        return parse_range(request.call.headers.get("range"))
    except RangeNotSatisfiable:
        return None


async def send_body(body: ObjectBody, request: S3Request, *, more: Headers = NO_HEADERS) -> None:
    status, length, headers = answer_head(body.info, body.range, request)
    await send_pieces(body, request.exchange, status=status, length=length, headers=[*headers, *more])


def empty_part_headers(info: ObjectInfo, request: S3Request) -> Headers:
    """There is no range that a 206 could name."""
    headers = object_headers(info, overrides=request.call.query)
    return [*headers, (b"content-length", b"0"), *count_headers(info)]


def wants_checksums(mode: str) -> bool:
    """`x-amz-checksum-mode`."""
    return mode.upper() == "ENABLED"


def answer_head(info: ObjectInfo, part: ByteRange | None, request: S3Request) -> tuple[int, int, Headers]:
    """Status, length of the body, and headers."""
    length = info.size if part is None else part.length
    # The checksum of the whole says nothing of a range.
    checksums = part is None and wants_checksums(request.header("x-amz-checksum-mode"))
    headers = object_headers(info, overrides=request.call.query, checksums=checksums)
    headers.append((b"content-length", b"%d" % length))
    if part is None:
        return 200, length, headers
    last = part.offset + part.length - 1
    headers.append((b"content-range", b"bytes %d-%d/%d" % (part.offset, last, info.size)))
    return 206, length, headers
