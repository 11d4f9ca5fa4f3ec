"""Multipart uploads: create, part, part copy, complete, abort, and both listings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from shoal_core.errors import UploadNotFound
from shoal_core.multipart import PARTS_MAX, Completion, PartInfo
from shoal_core.objects import Bucket, PutRequest
from shoal_gateway.parts import Parts
from shoal_gateway.rest.conditions import parse_preconditions, parse_range
from shoal_gateway.s3.answers import OWNER, answer_xml
from shoal_gateway.s3.bodies import PUT_BYTES_MAX, UploadedBody, content_md5, small_body
from shoal_gateway.s3.checksums import TYPE
from shoal_gateway.s3.completing import (
    ALGORITHM,
    check_size,
    chosen_checksum,
    chosen_parts,
    matched,
    whole_checksum,
)
from shoal_gateway.s3.copying import SOURCE, open_source
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.listing import text_writer
from shoal_gateway.s3.object_headers import (
    checksum_headers,
    checksum_leaves,
    content_type,
    kept_headers,
    kept_metadata,
)
from shoal_gateway.s3.objects import checked_key
from shoal_gateway.s3.part_reads import part_number
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.times import timestamp
from shoal_gateway.s3.upload_listing import algorithm_leaves, listed_uploads
from shoal_gateway.s3.xml import document, element, leaf, leaves, parse

PARTS_PAGE_MAX = 1000


class UploadOperations:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.objects

    async def create(self, bucket: Bucket, request: S3Request) -> None:
        put = PutRequest(
            name=checked_key(request.key),
            content_type=content_type(request),
            metadata=kept_metadata(request),
            headers=kept_headers(request) | chosen_checksum(request),
        )
        upload = await self._store.begin_upload(bucket, put)
        names = {ALGORITHM: upload.headers.get(ALGORITHM, ""), TYPE: upload.headers.get(TYPE, "")}
        body = document(
            "InitiateMultipartUploadResult",
            leaves([("Bucket", request.bucket), ("Key", request.key), ("UploadId", upload.id)]),
        )
        extra = [(name.encode(), value.encode()) for name, value in names.items() if value]
        await answer_xml(request, body, headers=extra)

    async def part(self, bucket: Bucket, request: S3Request) -> None:
        body = UploadedBody(request)
        put = PutRequest(
            name=checked_key(request.key),
            size=body.size,
            checksums=content_md5(request),
            md5_etag=True,
            late_headers=body.late_headers,
        )
        part = await self._put_part(bucket, request, put, aiter(body))
        headers = [(b"etag", f'"{part.etag}"'.encode()), (b"content-length", b"0")]
        await request.exchange.answer(200, [*headers, *checksum_headers(without_type(part.headers))])

    async def copy_part(self, bucket: Bucket, request: S3Request) -> None:
        given = request.call.headers.get(f"{SOURCE}-range")
        source = await open_source(self._parts, request, parse_range(given))
        try:
            size = source.range.length if source.range else source.info.size
            if size > PUT_BYTES_MAX:
                raise S3Error(
                    "InvalidRequest", "The specified copy source is larger than 5 GiB: name a range."
                )
            put = PutRequest(name=checked_key(request.key), size=size, md5_etag=True)
            part = await self._put_part(bucket, request, put, source.chunks())
        finally:
            await source.close()
        result = [leaf("ETag", f'"{part.etag}"'), leaf("LastModified", timestamp(part.modified_ns))]
        await answer_xml(request, document("CopyPartResult", *result))

    async def complete(self, bucket: Bucket, request: S3Request) -> None:
        """Repeated after success it answers as the first time."""
        upload_id = request.parameter("uploadId")
        completion = await self._completion(bucket, request)
        info = await self._store.complete_upload(bucket, request.key, upload_id, completion)
        place = f"http://{request.host}/{request.bucket}/{request.key}"
        body = document(
            "CompleteMultipartUploadResult",
            leaves([("Location", place), ("Bucket", request.bucket), ("Key", request.key)]),
            leaf("ETag", f'"{info.etag}"'),
            checksum_leaves(info.headers),
        )
        await answer_xml(request, body)

    async def abort(self, bucket: Bucket, request: S3Request) -> None:
        await self._store.abort_upload(bucket, request.key, request.parameter("uploadId"))
        await request.exchange.answer(204, [])

    async def list_parts(self, bucket: Bucket, request: S3Request) -> None:
        upload_id = request.parameter("uploadId")
        upload, parts = await self._store.list_parts(bucket, request.key, upload_id)
        marker = request.number("part-number-marker", default=0, largest=PARTS_MAX)
        limit = request.number("max-parts", default=PARTS_PAGE_MAX, largest=PARTS_PAGE_MAX)
        following = [part for part in parts if part.number > marker]
        shown = following[:limit]
        body = document(
            "ListPartsResult",
            leaves(
                [
                    ("Bucket", request.bucket),
                    ("Key", text_writer(request)(request.key)),
                    ("UploadId", upload.id),
                ]
            ),
            element("Initiator", leaf("ID", "shoal"), leaf("DisplayName", "shoal")) + OWNER,
            leaves([("StorageClass", "STANDARD"), ("PartNumberMarker", marker)]),
            leaf("NextPartNumberMarker", shown[-1].number if shown else 0),
            leaves([("MaxParts", limit), ("IsTruncated", str(len(following) > limit).lower())]),
            algorithm_leaves(upload),
            *(element("Part", part_leaves(part)) for part in shown),
        )
        await answer_xml(request, body)

    async def list_uploads(self, bucket: Bucket, request: S3Request) -> None:
        await answer_xml(request, await listed_uploads(self._store, bucket, request))

    async def _put_part(
        self, bucket: Bucket, request: S3Request, put: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        upload_id, number = request.parameter("uploadId"), part_number(request.parameter("partNumber"))
        return await self._store.put_part(bucket, upload_id, number, put, body)

    async def _completion(self, bucket: Bucket, request: S3Request) -> Completion:
        """What the parts add up to. Raises S3Error where the client's list does not fit them."""
        # The x-amz-checksum-* headers of this request speak of the object, not of the list.
        wanted = parse(await small_body(request, promised={}), "CompleteMultipartUpload")
        chosen = chosen_parts(wanted)
        choices = tuple(choice for choice, _ in chosen)
        preconditions = parse_preconditions(request.call.headers)
        try:
            upload, present = await self._store.list_parts(bucket, request.key, request.parameter("uploadId"))
        except UploadNotFound:
            # Perhaps it is complete already, and the client never heard of it: the store knows.
            return Completion(choices, "", {}, preconditions)
        parts = matched(chosen, {part.number: part for part in present})
        check_size(parts, request)
        headers = whole_checksum(upload, parts, request)
        return Completion(choices, "", headers, preconditions)


def part_leaves(part: PartInfo) -> str:
    pairs = [("PartNumber", part.number), ("LastModified", timestamp(part.modified_ns))]
    return leaves([*pairs, ("ETag", f'"{part.etag}"'), ("Size", part.size)]) + checksum_leaves(
        without_type(part.headers)
    )


def without_type(headers: Mapping[str, str]) -> Mapping[str, str]:
    """A part's checksum has no type: only an object's has."""
    return {name: value for name, value in headers.items() if name != TYPE}
