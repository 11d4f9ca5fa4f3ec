"""Heads of the lane's answers to plain objects: made once by the ordinary path's functions, and filled in for each.

Most objects have no metadata and no headers of their own, so their answers differ in a few fields, and making each
header anew takes a third of an answer's time. So the functions that make headers everywhere are asked once, for an
object whose fields are marks, and the marks are what is filled in. Nothing here knows which headers there are.
"""

from __future__ import annotations

from shoal_core.objects import Checksum, ObjectInfo, Version
from shoal_core.telemetry import new_request_id
from shoal_gateway.rest.object_headers import entity_headers, http_date_of
from shoal_gateway.s3.object_headers import object_headers
from shoal_store.ready import ReadyObject

Headers = list[tuple[bytes, bytes]]

MARKED_SECONDS = 1_234_567_890
MARKED = ObjectInfo(
    name="name",
    size=0,
    version=Version(b""),
    sequence=9_876_543_210,
    etag="etag-mark",
    checksum=Checksum("checksum-type-mark", "checksum-value-mark"),
    modified_ns=MARKED_SECONDS * 1_000_000_000,
    content_type="content-type-mark",
    metadata={},
)
ETAG, TYPE, SEQUENCE, TIME = MARKED.etag, MARKED.content_type, str(MARKED.sequence), str(MARKED.modified_ns)
DATE = http_date_of(MARKED_SECONDS).decode()
CHECKSUM_TYPE, CHECKSUM_VALUE = "checksum-type-mark", "checksum-value-mark"


def shape(headers: Headers, *marks: str) -> str:
    """The headers' lines with `%s` for each mark; `marks` names them in their order."""
    lines = text_of(headers)
    assert "%" not in lines
    assert sorted(marks, key=lines.index) == list(marks), "fill them in in this order"
    for mark in marks:
        assert lines.count(mark) == 1
        lines = lines.replace(mark, "%s")
    return lines


def text_of(headers: Headers) -> str:
    return b"".join(b"%b: %b\r\n" % header for header in headers).decode()


REST = shape(entity_headers(MARKED), ETAG, DATE, TYPE, CHECKSUM_TYPE, CHECKSUM_VALUE, TIME, SEQUENCE)
S3 = shape(object_headers(MARKED), ETAG, DATE, TYPE)


class PlainHeads:
    """Knows the lines that begin every answer, which change once a second."""

    def __init__(self) -> None:
        self._common: Headers = []
        self._begin = self._begin_part = ""

    def rest(self, found: ReadyObject, common: Headers) -> bytes | None:
        """Of a GET through AIStore's API. None when the object is not plain."""
        record = found.record
        varying = record.etag + record.content_type + record.checksum_value
        if record.metadata or not record.checksum_value or not (varying.isascii() and varying.isprintable()):
            return None
        date = http_date_of(record.modified_ns // 1_000_000_000).decode()
        lines = REST % (
            record.etag, date, record.content_type, record.checksum_type, record.checksum_value, record.modified_ns,
            record.sequence,
        )  # fmt: skip
        return self._head(found, common, lines, new_request_id())

    def s3(self, found: ReadyObject, common: Headers) -> bytes | None:
        """Of a GET or HEAD through S3. None when the object is not plain."""
        record = found.record
        varying = record.etag + record.content_type
        if record.metadata or record.headers or not (varying.isascii() and varying.isprintable()):
            return None
        identity, date = new_request_id(), http_date_of(record.modified_ns // 1_000_000_000).decode()
        lines = S3 % (record.etag, date, record.content_type)
        return self._head(found, common, f"{lines}x-amz-request-id: {identity}\r\n", identity)

    def _head(self, found: ReadyObject, common: Headers, lines: str, identity: str) -> bytes:
        if common is not self._common:
            self._common, text = common, text_of(common)
            self._begin = f"HTTP/1.1 200 OK\r\n{text}"
            self._begin_part = f"HTTP/1.1 206 Partial Content\r\n{text}"
        size, part = found.record.size, found.range
        if part is None:
            return f"{self._begin}{lines}content-length: {size}\r\nx-request-id: {identity}\r\n\r\n".encode()
        return (
            f"{self._begin_part}{lines}content-length: {part.length}\r\n"
            f"content-range: bytes {part.offset}-{part.offset + part.length - 1}/{size}\r\n"
            f"x-request-id: {identity}\r\n\r\n"
        ).encode()
