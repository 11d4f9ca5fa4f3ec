"""What AIStore says of an object in response headers: all of it, or the selection that a HEAD asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import quote

from shoal_core.errors import InvalidArgument
from shoal_core.objects import BucketReference, ObjectInfo

Headers = list[tuple[bytes, bytes]]
DEFAULT_PROPERTIES = "name,size"


def entity_headers(info: ObjectInfo) -> Headers:
    """What goes with every body and every plain HEAD."""
    return [
        *validator_headers(info),
        (b"accept-ranges", b"bytes"),
        (b"content-type", header_value(info.content_type)),
        # A stored page must not run as if it were part of this site.
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox"),
        *checksum_headers(info),
        (b"ais-atime", b"%d" % info.modified_ns),
        (b"ais-version", b"%d" % info.sequence),
        *custom_headers(info),
        (b"ais-present", b"true"),
    ]


def validator_headers(info: ObjectInfo) -> Headers:
    """By what a client tells one version from another."""
    return [
        (b"etag", b'"%s"' % header_value(info.etag)),
        (b"last-modified", http_date(info.modified_ns)),
    ]


def full_head_headers(info: ObjectInfo, bucket: BucketReference) -> Headers:
    """HEAD without `props`: everything that is known."""
    return [
        *entity_headers(info),
        (b"content-length", b"%d" % info.size),
        *name_headers(info),
        (b"ais-bucket-name", bucket.name.encode()),
        (b"ais-bucket-provider", bucket.provider.encode()),
        (b"ais-daemon-id", daemon_id(info)),
        *location_headers(info),
        *copies_headers(info),
        *chunk_headers(info),
    ]


def selected_head_headers(info: ObjectInfo, properties: str) -> Headers:
    """HEAD with `props=a,b`: size and presence always, and what was asked for."""
    headers: Headers = [(b"content-length", b"%d" % info.size), (b"ais-present", b"true")]
    for name in (properties or DEFAULT_PROPERTIES).split(","):
        make = PROPERTY_HEADERS.get(name.strip())
        if make is None:
            known = ", ".join(PROPERTY_HEADERS)
            raise InvalidArgument(f"there is no object property {name.strip()!r}; properties are {known}")
        headers.extend(make(info))
    return headers


def checksum_headers(info: ObjectInfo) -> Headers:
    if info.checksum is None:
        return []
    return [
        (b"ais-checksum-type", info.checksum.type.encode()),
        (b"ais-checksum-value", info.checksum.value.encode()),
    ]


def custom_headers(info: ObjectInfo) -> Headers:
    if not info.metadata:
        return []
    pairs = ", ".join(f"{name}={value}" for name, value in sorted(info.metadata.items()))
    return [(b"ais-custom-md", header_value(pairs))]


def name_headers(info: ObjectInfo) -> Headers:
    # Clients know the name that they asked for; one that a header cannot carry would come back wrong.
    if info.name.isascii() and info.name.isprintable() and info.name.strip() == info.name:
        return [(b"ais-name", info.name.encode())]
    return []


def location_headers(info: ObjectInfo) -> Headers:
    return [(b"ais-location", header_value(info.location))] if info.location else []


def copies_headers(_info: ObjectInfo) -> Headers:
    return [(b"ais-mirror-copies", b"1")]


def chunk_headers(info: ObjectInfo) -> Headers:
    if not info.chunk_count:
        return []
    return [
        (b"ais-chunks-count", b"%d" % info.chunk_count),
        (b"ais-chunks-max-chunk-size", b"%d" % info.chunk_bytes_max),
    ]


def no_headers(_info: ObjectInfo) -> Headers:
    return []


PROPERTY_HEADERS: Mapping[str, Callable[[ObjectInfo], Headers]] = {
    "name": name_headers,
    "size": no_headers,
    "version": lambda info: [(b"ais-version", b"%d" % info.sequence)],
    "checksum": checksum_headers,
    "atime": lambda info: [(b"ais-atime", b"%d" % info.modified_ns)],
    "cached": no_headers,
    "status": no_headers,
    "copies": copies_headers,
    "ec": no_headers,
    "custom": custom_headers,
    "location": location_headers,
    "chunked": chunk_headers,
    "last-modified": lambda info: [(b"last-modified", http_date(info.modified_ns))],
    "etag": lambda info: [(b"etag", b'"%s"' % header_value(info.etag))],
}
"""Size and presence are in every answer; `ec` and `chunked` say something only of objects so stored."""


def http_date(time_ns: int) -> bytes:
    return http_date_of(time_ns // 1_000_000_000)


@lru_cache(4096)
def http_date_of(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


def header_value(text: str) -> bytes:
    """Control characters would end the header; they travel percent-encoded."""
    if text.isprintable():
        return text.encode()
    return "".join(c if c.isprintable() else quote(c) for c in text).encode()


def daemon_id(info: ObjectInfo) -> bytes:
    """`t1` of the location `t[t1]:mp1`."""
    return info.location.partition("[")[2].partition("]")[0].encode()
