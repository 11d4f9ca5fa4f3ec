"""The requests that may take the lane: one complete GET or HEAD, or a small PUT, in one packet, nothing unusual in it.

Whatever does not match here to the letter is left, untouched, to uvicorn's parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shoal_core.objects import RangeRequest

HEAD_BYTES_MAX = 8 << 10
HEADERS_MAX = 32
BODY_BYTES_MAX = 16 << 10
"""Of a PUT: what the index holds, and one packet brings."""

# No quantifier meets another that could take the same byte, so matching never goes back.
_HEAD = re.compile(
    rb"(GET|HEAD|PUT) (/[!\"$-/0-9:;<=>@-~]*)(?:\?([!\"$-~]*))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[ -~]*\r\n){1,%d})\r\n" % HEADERS_MAX
)
_RANGE = re.compile(rb"bytes=([0-9]{1,18})-([0-9]{0,18})")

KNOWN_HEADERS = frozenset(
    {
        b"accept", b"accept-encoding", b"accept-language", b"amz-sdk-invocation-id", b"amz-sdk-request",
        b"authorization", b"cache-control", b"connection", b"content-type", b"host", b"pragma", b"range", b"user-agent",
        b"x-amz-checksum-mode", b"x-amz-content-sha256", b"x-amz-date",
    }
)  # fmt: skip
"""Headers that mean nothing for a read, or what the lane knows them to mean. With any other one, the lane is closed."""
KNOWN_PUT_HEADERS = (KNOWN_HEADERS | {b"content-length"}) - {
    b"cache-control",
    b"range",
    b"x-amz-checksum-mode",
}


@dataclass(slots=True)
class LaneRequest:
    """As sent: nothing is decoded but the names of headers, which are in lower case."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: dict[bytes, bytes]
    body: bytes = b""

    @property
    def host(self) -> bytes:
        return self.headers[b"host"]


def parse(data: bytes) -> LaneRequest | None:
    """The read that these bytes are, if they are one of the lane's."""
    return parse_head(data, KNOWN_HEADERS)


def parse_put(data: bytes) -> LaneRequest | None:
    """The write that these bytes are, its body with it, if they are one of the lane's."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
    request = parse_head(data[:end], KNOWN_PUT_HEADERS)
    if request is None:
        return None
    request.body = data[end:]
    size = len(request.body)
    announced = request.headers.get(b"content-length", b"")
    return request if announced == b"%d" % size and 0 < size <= BODY_BYTES_MAX else None


def parse_head(data: bytes, known: frozenset[bytes]) -> LaneRequest | None:
    if len(data) > HEAD_BYTES_MAX or (match := _HEAD.fullmatch(data)) is None:
        return None
    method, raw_path, raw_query, lines = match.groups()
    headers: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in known or name in headers:
            return None
        headers[name] = value.strip(b" ")
    if b"host" not in headers or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    if raw_path.startswith(b"//"):
        # The parser of URLs takes what follows for a host.
        return None
    return LaneRequest(METHODS[method], raw_path, raw_query or b"", headers)


METHODS = {b"GET": "GET", b"HEAD": "HEAD", b"PUT": "PUT"}


def plain_range(value: bytes) -> RangeRequest | None:
    """`bytes=a-b` or `bytes=a-`; None for every other way to ask for a range."""
    if (match := _RANGE.fullmatch(value)) is None:
        return None
    first, last = int(match[1]), int(match[2]) if match[2] else None
    return None if last is not None and last < first else RangeRequest(first, last)
