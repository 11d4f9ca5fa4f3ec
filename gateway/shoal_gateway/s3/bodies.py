"""The body of an S3 upload: decoded, and verified against everything that the client said of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping

from shoal_core.objects import Checksum
from shoal_gateway.s3.checksums import ALGORITHMS, PREFIX, Digest, algorithm_of, decoded, promised_in, proved
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.signature import STREAMING, UNSIGNED
from shoal_gateway.s3.streaming import ChunkedBody
from shoal_gateway.s3.xml import DOCUMENT_BYTES_MAX
from shoal_store.threads import ThreadBeside

THREAD_BYTES_MIN = 128 << 10
"""Pieces of so many bytes are added to checksums beside the event loop, while the store takes them too."""
PUT_BYTES_MAX = 5 << 30
"""Of one request, as in AWS; larger objects come in parts."""


class UploadedBody:
    """Iterate once; `late_headers` then has the checksums to keep. Raises S3Error where a promise is broken."""

    def __init__(
        self,
        request: S3Request,
        *,
        promised: Mapping[str, bytes] | None = None,
        is_document: bool = False,
    ) -> None:
        self._payload = request.verified.payload
        source = request.exchange.body()
        self._chunked = ChunkedBody(source, request.verified) if self._payload in STREAMING else None
        self._source: AsyncIterator[bytes] = aiter(self._chunked) if self._chunked is not None else source
        self.size = announced_size(request, is_document=is_document)
        self._promised = promised_in(request.call.headers) if promised is None else promised
        self._trailer = trailer_algorithm(request)
        self._kept: Mapping[str, str] = {}
        check_payload_kind(self._payload)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        digests: dict[str, Digest] = {name: ALGORITHMS[name]() for name in self._promised}
        if self._trailer:
            digests[self._trailer] = ALGORITHMS[self._trailer]()
        content = None if self._payload in (UNSIGNED, *STREAMING) else hashlib.sha256()
        computed = [*digests.values(), *([content] if content is not None else [])]
        hashing = ThreadBeside()
        try:
            async for piece in self._source:
                if computed and len(piece) >= THREAD_BYTES_MIN:
                    await hashing.run(add_to_all, computed, piece)
                else:
                    await hashing.ended()
                    add_to_all(computed, piece)
                yield piece
        finally:
            await hashing.ended()
        if content is not None and content.hexdigest() != self._payload:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        self._check(digests)

    def late_headers(self) -> Mapping[str, str]:
        return self._kept

    def _check(self, digests: Mapping[str, Digest]) -> None:
        promised = dict(self._promised)
        if self._trailer:
            promised[self._trailer] = self._from_trailer(self._trailer)
        self._kept = proved(promised, digests)

    def _from_trailer(self, algorithm: str) -> bytes:
        trailers = self._chunked.trailers if self._chunked is not None else {}
        value = trailers.get(f"{PREFIX}{algorithm}")
        if value is None:
            raise S3Error(
                "MalformedTrailerError", f"The trailer {PREFIX}{algorithm} was announced and did not come."
            )
        return decoded(value, algorithm)


def add_to_all(digests: Iterable[Digest], piece: bytes) -> None:
    for digest in digests:
        digest.update(piece)


async def small_body(request: S3Request, *, promised: Mapping[str, bytes] | None = None) -> bytes:
    """A document, verified as uploads are; against `promised` instead of the headers, if it is given."""
    body = UploadedBody(request, promised=promised, is_document=True)
    found = bytearray()
    async for piece in body:
        found += piece
        if len(found) > DOCUMENT_BYTES_MAX:
            raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
    for checksum in content_md5(request):
        if hashlib.md5(found, usedforsecurity=False).hexdigest() != checksum.value:
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
    return bytes(found)


def content_md5(request: S3Request) -> tuple[Checksum, ...]:
    """What the store compares while it writes."""
    value = request.header("content-md5")
    if not value:
        return ()
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.")
    return (Checksum("md5", digest.hex()),)


def announced_size(request: S3Request, *, is_document: bool) -> int:
    """Bytes after decoding. AWS demands them of uploads; the HTTP parser has refused contradictions."""
    streaming = request.verified.payload in STREAMING
    given = request.header("x-amz-decoded-content-length" if streaming else "content-length")
    if not given:
        if streaming or "transfer-encoding" in request.call.headers or not is_document:
            raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
        return 0
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise S3Error("InvalidArgument", "The announced length is not a number.")
    if is_document and int(given) > DOCUMENT_BYTES_MAX:
        raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
    if int(given) > PUT_BYTES_MAX:
        raise S3Error(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            ProposedSize=given,
            MaxSizeAllowed=str(PUT_BYTES_MAX),
        )
    return int(given)


def trailer_algorithm(request: S3Request) -> str:
    """The algorithm whose checksum comes after the body; "" when none does."""
    names = [name.strip().lower() for name in request.header("x-amz-trailer").split(",") if name.strip()]
    if not names:
        return ""
    algorithm = algorithm_of(names[0])
    if len(names) > 1 or algorithm is None or not request.verified.payload.endswith("-TRAILER"):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return algorithm


def check_payload_kind(payload: str) -> None:
    if payload in STREAMING or payload == UNSIGNED:
        return
    if len(payload) != 64 or any(character not in "0123456789abcdef" for character in payload):
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER, or a valid sha256 value.",
        )
