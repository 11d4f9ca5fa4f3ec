"""ListObjects, in both versions."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import quote

from shoal_core.objects import Bucket, ListPage, ListQuery
from shoal_gateway.parts import Parts
from shoal_gateway.s3.answers import OWNER, answer_xml
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.times import timestamps
from shoal_gateway.s3.xml import document, element, escaped_all, leaf

KEYS_MAX = 1000
URL_SAFE = "/~-_."
PLAIN = re.compile(r"[A-Za-z0-9/~_.-]*")
"""What `quote` would leave as it is."""


class ListOperations:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def first_version(self, bucket: Bucket, request: S3Request) -> None:
        marker = request.parameter("marker")
        page, limit = await self._page(bucket, request, marker)
        text = text_writer(request)
        await answer_xml(
            request,
            document(
                "ListBucketResult",
                leaf("Name", request.bucket),
                leaf("Prefix", text(request.parameter("prefix"))),
                leaf("Marker", text(marker)),
                leaf("NextMarker", text(page.next_after)) if page.next_after else "",
                *common(request, page, limit),
                *contents(page, text, with_owner=True),
                *prefixes(page, text),
            ),
        )

    async def second_version(self, bucket: Bucket, request: S3Request) -> None:
        token = request.call.query.get("continuation-token")
        start_after = request.parameter("start-after")
        page, limit = await self._page(bucket, request, decode_token(token) if token else start_after)
        if token == "":
            raise S3Error("InvalidArgument", "The continuation token provided is incorrect")
        text = text_writer(request)
        with_owner = request.parameter("fetch-owner") == "true"
        await answer_xml(
            request,
            document(
                "ListBucketResult",
                leaf("Name", request.bucket),
                leaf("Prefix", text(request.parameter("prefix"))),
                leaf("StartAfter", text(start_after)) if start_after else "",
                leaf("ContinuationToken", token) if token else "",
                leaf("NextContinuationToken", encode_token(page.next_after)) if page.next_after else "",
                leaf("KeyCount", len(page.entries) + len(page.prefixes)),
                *common(request, page, limit),
                *contents(page, text, with_owner=with_owner),
                *prefixes(page, text),
            ),
        )

    async def _page(self, bucket: Bucket, request: S3Request, after: str) -> tuple[ListPage, int]:
        limit = request.number("max-keys", default=KEYS_MAX, largest=KEYS_MAX)
        if limit == 0:
            return ListPage((), (), ""), 0
        prefix, delimiter = request.parameter("prefix"), request.parameter("delimiter")
        query = ListQuery(prefix, delimiter, after, limit, detail="etag")
        return await self._parts.objects.list(bucket, query), limit


class TextWriter:
    """Names as the client asked for them: as they are, or percent-encoded (a space as `%20`)."""

    def __init__(self, *, encoded: bool) -> None:
        self._encoded = encoded

    def __call__(self, name: str) -> str:
        return quote(name, safe=URL_SAFE) if self._encoded and not PLAIN.fullmatch(name) else name

    def all(self, names: Sequence[str]) -> Sequence[str]:
        """Looks at them as one name: most need nothing, and a page has a thousand."""
        if self._encoded and not PLAIN.fullmatch("".join(names)):
            return [self(name) for name in names]
        return names


def text_writer(request: S3Request) -> TextWriter:
    encoding = request.parameter("encoding-type")
    if encoding not in ("", "url"):
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    return TextWriter(encoded=encoding == "url")


def common(request: S3Request, page: ListPage, limit: int) -> list[str]:
    delimiter = request.parameter("delimiter")
    text = text_writer(request)
    return [
        leaf("MaxKeys", limit),
        leaf("Delimiter", text(delimiter)) if delimiter else "",
        leaf("EncodingType", "url") if request.parameter("encoding-type") else "",
        leaf("IsTruncated", "true" if page.next_after else "false"),
    ]


def contents(page: ListPage, text: TextWriter, *, with_owner: bool) -> list[str]:
    """One string an entry, and not leaf by leaf: a page has a thousand."""
    tail = f"<StorageClass>STANDARD</StorageClass>{OWNER if with_owner else ''}</Contents>"
    names = escaped_all(text.all([info.name for info in page.entries]))
    etags = escaped_all([info.etag for info in page.entries])
    times = timestamps([info.modified_ns for info in page.entries])
    return [
        f"<Contents><Key>{name}</Key><LastModified>{time}</LastModified>"
        f'<ETag>"{etag}"</ETag><Size>{info.size}</Size>{tail}'
        for info, name, etag, time in zip(page.entries, names, etags, times, strict=True)
    ]


def prefixes(page: ListPage, text: TextWriter) -> list[str]:
    return [element("CommonPrefixes", leaf("Prefix", text(prefix))) for prefix in page.prefixes]


def encode_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def decode_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from error
