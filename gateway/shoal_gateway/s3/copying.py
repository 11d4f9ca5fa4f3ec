"""CopyObject, and finding the source of a copy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shoal_core.access import Permission
from shoal_core.errors import NotModified, ObjectNotFound, PreconditionFailed
from shoal_core.objects import (
    Bucket,
    BucketReference,
    CopyRequest,
    Description,
    ObjectBody,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_gateway.call import decode_once
from shoal_gateway.parts import Parts
from shoal_gateway.rest.conditions import parse_preconditions
from shoal_gateway.s3.answers import answer_xml
from shoal_gateway.s3.bodies import PUT_BYTES_MAX
from shoal_gateway.s3.checksums import COMPOSITE, TYPE
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.object_headers import (
    checksum_leaves,
    content_type,
    is_checksum,
    kept_headers,
    kept_metadata,
)
from shoal_gateway.s3.objects import checked_key
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.times import timestamp
from shoal_gateway.s3.xml import document, leaf

SOURCE = "x-amz-copy-source"
MD5 = re.compile("[0-9a-f]{32}")


class CopyOperations:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def copy(self, bucket: Bucket, request: S3Request) -> None:
        replacing = directive(request) == "REPLACE"
        if source_of(request) == (request.bucket, request.key) and not replacing:
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing "
                "the object's metadata, storage class, website redirect location or encryption attributes.",
            )
        source = await open_source(self._parts, request)
        try:
            if source.info.size > PUT_BYTES_MAX:
                raise S3Error(
                    "InvalidRequest", "The specified copy source is larger than 5 GiB: copy it in parts."
                )
            put = self._replaced(request, source.info) if replacing else self._copied(request, source.info)
            info = await self._linked(bucket, request, source.info, put)
            if info is None:
                info = await self._parts.objects.put(bucket, put, source.chunks())
        finally:
            await source.close()
        await answer_xml(request, document("CopyObjectResult", *copy_result(info)))

    async def _linked(
        self, bucket: Bucket, request: S3Request, source: ObjectInfo, put: PutRequest
    ) -> ObjectInfo | None:
        """None where the copy must have another etag, or the source was overwritten just now: then the bytes that are
        open are copied."""
        if source.parts or not (MD5.fullmatch(source.etag) or bucket.properties.s3_etag == "fast"):
            return None
        origin, name = await resolve_source(self._parts, request)
        copy = CopyRequest(
            origin,
            name,
            put.name,
            Description(put.content_type, put.metadata, put.headers),
            put.preconditions,
            Preconditions(if_version=source.version),
        )
        try:
            return await self._parts.objects.copy(bucket, copy)
        except (ObjectNotFound, PreconditionFailed):
            return None

    def _copied(self, request: S3Request, source: ObjectInfo) -> PutRequest:
        return self._put(request, source, source.content_type, source.metadata, source.headers)

    def _replaced(self, request: S3Request, source: ObjectInfo) -> PutRequest:
        headers = kept_headers(request) | {k: v for k, v in source.headers.items() if is_checksum(k)}
        return self._put(request, source, content_type(request), kept_metadata(request), headers)

    def _put(
        self,
        request: S3Request,
        source: ObjectInfo,
        media_type: str,
        metadata: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> PutRequest:
        if headers.get(TYPE) == COMPOSITE:
            # It names parts that the copy does not have.
            headers = {name: value for name, value in headers.items() if not is_checksum(name)}
        return PutRequest(
            name=checked_key(request.key),
            size=source.size,
            content_type=media_type,
            metadata=metadata,
            preconditions=parse_preconditions(request.call.headers),
            headers=headers,
            md5_etag=True,
        )


def directive(request: S3Request) -> str:
    for name in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        if request.header(name, "COPY") not in ("COPY", "REPLACE"):
            raise S3Error("InvalidArgument", f"Unknown {name}.")
    return request.header("x-amz-metadata-directive", "COPY")


def source_of(request: S3Request) -> tuple[str, str]:
    """Bucket and key of the source. Raises S3Error."""
    path, _, query = request.header(SOURCE).partition("?")
    if query and query != "versionId=null":
        raise S3Error("NotImplemented", "Copying versions is not implemented in this version of Shoal.")
    # Headers are kept as Latin-1: this is what came.
    bucket, _, key = decode_once(path.encode("latin-1")).removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error(
            "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        )
    return bucket, key


async def resolve_source(parts: Parts, request: S3Request) -> tuple[Bucket, str]:
    name, key = source_of(request)
    return await parts.buckets.resolve(
        BucketReference(name), permission=Permission.GET, principal=request.principal
    ), key


async def open_source(parts: Parts, request: S3Request, requested: RangeRequest | None = None) -> ObjectBody:
    """What is to be copied, if the caller may read it and the source's conditions hold."""
    bucket, key = await resolve_source(parts, request)
    prefix = f"{SOURCE}-"
    headers = {
        k.removeprefix(prefix): v for k, v in request.call.headers.items() if k.startswith(f"{prefix}if-")
    }
    try:
        return await parts.objects.open(
            bucket, key, range=requested, preconditions=parse_preconditions(headers)
        )
    except NotModified as error:
        raise PreconditionFailed(error.message, **error.metadata) from error


def copy_result(info: ObjectInfo) -> list[str]:
    parts = [leaf("ETag", f'"{info.etag}"'), leaf("LastModified", timestamp(info.modified_ns))]
    return [*parts, checksum_leaves(info.headers)]
