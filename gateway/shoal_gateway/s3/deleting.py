"""DeleteObjects: up to 1,000 keys in one request, each with its own result."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shoal_core.errors import ObjectNotFound, ShoalError
from shoal_core.objects import Bucket, Preconditions
from shoal_gateway.parts import Parts
from shoal_gateway.rest.conditions import strong_etags
from shoal_gateway.s3.answers import answer_xml, s3_error
from shoal_gateway.s3.bodies import small_body, trailer_algorithm
from shoal_gateway.s3.checksums import promised_in
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.objects import checked_key
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.xml import Element, document, element, leaf, malformed, parse

KEYS_MAX = 1000
AT_ONCE = 16


class DeleteOperations:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def delete_objects(self, bucket: Bucket, request: S3Request) -> None:
        if not (
            request.header("content-md5") or promised_in(request.call.headers) or trailer_algorithm(request)
        ):
            raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5")
        wanted = parse(await small_body(request), "Delete")
        objects = wanted.all("Object")
        if not 1 <= len(objects) <= KEYS_MAX:
            raise malformed(f"1 to {KEYS_MAX} objects can be deleted at once")
        if not all(each.exact("Key") for each in objects):
            raise malformed("an <Object> has no <Key>")
        quiet = wanted.value("Quiet") == "true"
        gate = asyncio.Semaphore(AT_ONCE)
        outcomes = await asyncio.gather(*(self._outcome(bucket, each, request, gate) for each in objects))
        shown = [outcome for outcome in outcomes if not (quiet and outcome.startswith("<Deleted>"))]
        await answer_xml(request, document("DeleteResult", *shown))

    async def _outcome(
        self, bucket: Bucket, wanted: Element, request: S3Request, gate: asyncio.Semaphore
    ) -> str:
        key = wanted.exact("Key") or ""
        try:
            async with gate:
                await self._delete(bucket, key, wanted)
        except S3Error as error:
            return failure(key, error)
        except ShoalError as error:
            return failure(key, s3_error(error, request.call))
        return element("Deleted", leaf("Key", key))

    async def _delete(self, bucket: Bucket, key: str, wanted: Element) -> None:
        if wanted.value("VersionId") not in (None, "", "null"):
            raise S3Error("NotImplemented", "Deleting versions is not implemented in this version of Shoal.")
        etag = wanted.value("ETag")
        conditions = Preconditions(if_match=strong_etags(etag) if etag else ())
        with suppress(*(() if etag else (ObjectNotFound,))):
            await self._parts.objects.delete(bucket, checked_key(key), preconditions=conditions)


def failure(key: str, error: S3Error) -> str:
    return element("Error", leaf("Key", key), leaf("Code", error.code), leaf("Message", error.message))
