"""The requests that may take the lane: one complete GET or HEAD in one packet, or a PUT, nothing unusual in it.

Whatever does not match here to the letter is left, untouched, to uvicorn's parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from shoal_core.objects import RangeRequest
from shoal_gateway.s3.checksums import ALGORITHMS, PREFIX
from shoal_gateway.s3.signature import UNSIGNED as SAYS_UNSIGNED

HEAD_BYTES_MAX = 8 << 10
HEADERS_MAX = 32
BODY_BYTES_MAX = 1 << 20
"""Of a PUT: what is held in memory while its packets come, and is written in one go."""
HASHED_BYTES_MAX = 64 << 10
"""Of a PUT with a hash or a checksum of the body: what the event loop has time to hash."""

OBJECTS, S3_OBJECTS = b"/v1/objects/", b"/s3/"
"""What the paths of objects begin with, but those of S3 that begin with the bucket."""
# No quantifier meets another that could take the same byte, so matching never goes back.
_LINE = re.compile(
    rb"(GET|HEAD|PUT) (%b|%b|/(?!s3/))([!\"$&-.0-9:;<=>@-~]+)/([!\"$-/0-9:;<=>@-~]+)(?:\?([!\"$-~]*))? HTTP/1\.1"
    % (OBJECTS, S3_OBJECTS)
)
_HEADERS = re.compile(rb"(?:[A-Za-z0-9-]+:[ -~]*\r\n){1,%d}\r\n" % HEADERS_MAX)
_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
_RANGE = re.compile(rb"bytes=([0-9]{1,18})-([0-9]{0,18})")

KNOWN_HEADERS = frozenset(
    {
        b"accept", b"accept-encoding", b"accept-language", b"amz-sdk-invocation-id", b"amz-sdk-request",
        b"authorization", b"cache-control", b"connection", b"content-type", b"host", b"pragma", b"range", b"user-agent",
        b"x-amz-checksum-mode", b"x-amz-content-sha256", b"x-amz-date",
    }
)  # fmt: skip
"""Headers that mean nothing for a read, or what the lane knows them to mean. With any other one, the lane is closed."""
CHECKSUM_HEADERS = frozenset(f"{PREFIX}{name}".encode() for name in ALGORITHMS)
KNOWN_PUT_HEADERS = (
    (KNOWN_HEADERS | CHECKSUM_HEADERS | {b"content-length", b"expect", b"x-amz-sdk-checksum-algorithm"})
    - {b"cache-control", b"range", b"x-amz-checksum-mode"}
)  # fmt: skip
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECTATION = re.compile(rb"\r\nexpect:[^\r\n]*", re.IGNORECASE)


class LaneRequest(msgspec.Struct, gc=False):
    """As sent: nothing is decoded but the names of headers, which are in lower case."""

    method: str
    root: bytes
    """OBJECTS, S3_OBJECTS, or `/` before the name of a bucket."""
    raw_bucket: bytes
    """Without percent signs."""
    raw_name: bytes
    raw_query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes | memoryview = b""
    """Of a write: what has come of it."""
    size: int = 0
    """Bytes of the body that a write announces."""

    @property
    def expects_continue(self) -> bool:
        """Whether the client may wait for CONTINUE before it sends the body."""
        return b"expect" in self.headers


def parse_put(data: bytes) -> LaneRequest | None:
    """The write that these bytes are or begin, if they are one of the lane's; with what there is of its body."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
    request = parse_head(data[:end], KNOWN_PUT_HEADERS)
    if request is None or _LENGTH.fullmatch(announced := request.headers.get(b"content-length", b"")) is None:
        return None
    if request.headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        return None
    request.body, request.size = data[end:], int(announced)
    size_max = HASHED_BYTES_MAX if is_hashed(request) else BODY_BYTES_MAX
    return request if len(request.body) <= request.size <= size_max else None


def is_hashed(request: LaneRequest) -> bool:
    signed = request.headers.get(b"x-amz-content-sha256", UNSIGNED)
    return signed != UNSIGNED or not CHECKSUM_HEADERS.isdisjoint(request.headers)


def without_expectation(head: bytes) -> bytes:
    """For whoever reads it after CONTINUE was sent."""
    return _EXPECTATION.sub(b"", head)


def parse_head(data: bytes, known: frozenset[bytes]) -> LaneRequest | None:
    """The request that these bytes begin, if it is one of the lane's and has no other headers than these."""
    line, _, block = data.partition(b"\r\n")
    if len(data) > HEAD_BYTES_MAX or (match := _LINE.fullmatch(line)) is None:
        return None
    # A signature makes every block another one, not worth keeping.
    headers = headers_of(block, known) if SIGNED in block else kept_headers_of(block, known)
    if headers is None:
        return None
    method, root, raw_bucket, raw_name, raw_query = match.groups(b"")
    return LaneRequest(METHODS[method], root, raw_bucket, raw_name, raw_query, headers)


def headers_of(block: bytes, known: frozenset[bytes]) -> Mapping[bytes, bytes] | None:
    """Of all lines after the first; None unless each is known, and there once."""
    if _HEADERS.fullmatch(block) is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n")[:-2]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in known or name in headers:
            return None
        headers[name] = value.strip(b" ")
    if b"host" not in headers or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return headers


kept_headers_of = lru_cache(256)(headers_of)
"""Clients send the same lines with each request of a connection."""
SIGNED = b"uthorization:"
UNSIGNED = SAYS_UNSIGNED.encode()
METHODS = {b"GET": "GET", b"HEAD": "HEAD", b"PUT": "PUT"}


def plain_range(value: bytes) -> RangeRequest | None:
    """`bytes=a-b` or `bytes=a-`; None for every other way to ask for a range."""
    if (match := _RANGE.fullmatch(value)) is None:
        return None
    first, last = int(match[1]), int(match[2]) if match[2] else None
    return None if last is not None and last < first else RangeRequest(first, last)
