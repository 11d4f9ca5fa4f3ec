"""Answers in XML: results and errors."""

from __future__ import annotations

from shoal_core import errors
from shoal_core.error_table import RETRY_AFTER_SECONDS
from shoal_core.errors import ShoalError
from shoal_gateway.call import Call
from shoal_gateway.exchange import Headers
from shoal_gateway.s3.errors import CODES, S3Error
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.xml import element, leaf, leaves

XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
OWNER_ID = "shoal"
OWNER = element("Owner", leaf("ID", OWNER_ID), leaf("DisplayName", OWNER_ID))
"""There is one account, so it owns everything."""

CONDITIONS = {
    "if_match": "If-Match",
    "if_none_match": "If-None-Match",
    "if_modified_since": "If-Modified-Since",
    "if_unmodified_since": "If-Unmodified-Since",
}
UNREADABLE = dict.fromkeys(range(32), "\ufffd")


async def answer_xml(request: S3Request, body: bytes, *, headers: Headers | None = None) -> None:
    await request.exchange.answer(200, [*xml_headers(body), *(headers or [])], body)


def xml_headers(body: bytes) -> Headers:
    return [(b"content-type", b"application/xml"), (b"content-length", b"%d" % len(body))]


def error_answer(error: S3Error, call: Call) -> tuple[int, Headers, bytes]:
    """Status, headers and body. A HEAD, and a 304, have no body."""
    headers: Headers = []
    if error.status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    if error.code == "InvalidRange":
        headers.append((b"content-range", b"bytes */" + error.details.get("ActualObjectSize", "*").encode()))
    if call.method == "HEAD" or error.status == 304:
        return error.status, headers, b""
    body = (
        XML_HEAD
        + element(
            "Error",
            leaf("Code", error.code),
            leaf("Message", readable(error.message)),
            leaves((name, readable(value)) for name, value in error.details.items()),
            leaf("Resource", readable(call.url_path[:2048])),
            leaf("RequestId", call.request_id),
        )
    ).encode()
    return error.status, [*headers, *xml_headers(body)], body


def readable(text: str) -> str:
    """A client whose parser stumbles over a name's control character would not even learn the error's code."""
    return text.translate(UNREADABLE)


def s3_error(error: ShoalError, call: Call) -> S3Error:
    """One of our errors as S3 words it."""
    code = code_of(error)
    bucket = call.bucket.name if call.bucket else ""
    match code:
        case "NoSuchBucket":
            return S3Error(code, "The specified bucket does not exist", BucketName=bucket)
        case "NoSuchKey":
            return S3Error(code, "The specified key does not exist.", Key=call.object_name)
        case "PreconditionFailed":
            condition = CONDITIONS.get(error.metadata.get("condition", ""), "")
            text = "At least one of the pre-conditions you specified did not hold"
            return S3Error(code, text, Condition=condition)
        case "InvalidRange":
            size = error.metadata.get("size", "")
            return S3Error(code, "The requested range is not satisfiable", ActualObjectSize=size)
        case "InternalError" if not isinstance(error, errors.DataCorrupt):
            return S3Error(code, "We encountered an internal error. Please report it with the request id.")
        case _:
            return S3Error(code, error.message)


def code_of(error: ShoalError) -> str:
    if isinstance(error, errors.ChecksumMismatch):
        return "BadDigest"
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
