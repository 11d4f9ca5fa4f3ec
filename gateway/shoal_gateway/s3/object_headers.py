"""What S3 keeps of a request's headers with an object, and says of it in a response's."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from re import compile

from shoal_core.objects import ObjectInfo
from shoal_gateway.exchange import Headers
from shoal_gateway.rest.object_headers import http_date
from shoal_gateway.s3.checksums import ALGORITHMS, PREFIX, TYPE
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.requests import METADATA_PREFIX, S3Request
from shoal_gateway.s3.xml import leaves

KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
"""Stored with the object and sent with it."""
OVERRIDES = {f"response-{name}": name for name in (*KEPT, "content-type")}
NO_OVERRIDES: Mapping[str, str] = {}
METADATA_BYTES_MAX = 2048
DEFAULT_CONTENT_TYPE = "binary/octet-stream"
CHUNKED = "aws-chunked"
TOKEN = compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


def kept_headers(request: S3Request) -> dict[str, str]:
    """`aws-chunked` says how the body travelled, not what the object is."""
    found = {name: request.header(name) for name in KEPT if request.header(name)}
    codings = [each.strip() for each in found.pop("content-encoding", "").split(",")]
    codings = [each for each in codings if each and each.lower() != CHUNKED]
    return found | ({"content-encoding": ",".join(codings)} if codings else {})


def kept_metadata(request: S3Request) -> Mapping[str, str]:
    size = sum(len(name) + len(value.encode()) for name, value in request.metadata.items())
    if size > METADATA_BYTES_MAX:
        raise S3Error(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            Size=str(size),
            MaxSizeAllowed=str(METADATA_BYTES_MAX),
        )
    return request.metadata


def content_type(request: S3Request) -> str:
    return request.header("content-type") or DEFAULT_CONTENT_TYPE


def object_headers(
    info: ObjectInfo, *, overrides: Mapping[str, str] = NO_OVERRIDES, checksums: bool = False
) -> Headers:
    """Everything but the length.

    Args:
        overrides: the request's query; its `response-...` fields replace headers of the content.
        checksums: whether to add the checksums of the whole object.
    """
    headers: Headers = [
        *validators(info),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox"),
    ]
    shown = {"content-type": info.content_type} | {k: v for k, v in info.headers.items() if k in KEPT}
    if overrides:
        shown |= {name: given for field, name in OVERRIDES.items() if (given := overrides.get(field))}
    headers += [(name.encode(), header_value(value)) for name, value in shown.items()]
    headers += metadata_headers(info.metadata)
    if checksums:
        headers += checksum_headers(info.headers)
    return headers


def validators(info: ObjectInfo) -> Headers:
    return [(b"etag", b'"%s"' % info.etag.encode()), (b"last-modified", http_date(info.modified_ns))]


def metadata_headers(metadata: Mapping[str, str]) -> Headers:
    """Names that no header can have were given through another API and are left out."""
    return [
        (f"{METADATA_PREFIX}{name.lower()}".encode(), header_value(value))
        for name, value in metadata.items()
        if TOKEN.fullmatch(name.lower())
    ]


def checksum_headers(headers: Mapping[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in headers.items() if is_checksum(name)]


def checksum_leaves(headers: Mapping[str, str]) -> str:
    """The same in a document."""
    names = {f"{PREFIX}{name}": f"Checksum{name.upper()}" for name in ALGORITHMS} | {TYPE: "ChecksumType"}
    return leaves([(names[name], value) for name, value in headers.items() if name in names])


def is_checksum(name: str) -> bool:
    return name == TYPE or (name.startswith(PREFIX) and name != f"{PREFIX}algorithm")


def header_value(value: str) -> bytes:
    """What is not printable ASCII goes as an encoded word (RFC 2047), as AWS sends it."""
    if value.isascii() and value.isprintable():
        return value.encode()
    return b"=?UTF-8?B?%s?=" % base64.b64encode(value.encode())
