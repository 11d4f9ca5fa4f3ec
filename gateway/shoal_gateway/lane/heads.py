"""Heads of the lane's answers to plain objects: made once by the ordinary path's functions, and filled in for each.

Most objects have no metadata and no headers of their own, so their answers differ in a few fields, and making each
header anew takes a third of an answer's time. So the functions that make headers everywhere are asked once, for an
object whose fields are marks, and the marks are what is filled in. Nothing here knows which headers there are.
"""

from __future__ import annotations

from functools import lru_cache

from shoal_core.objects import ByteRange, Checksum, ObjectInfo, Version
from shoal_core.telemetry import new_request_id
from shoal_gateway.rest.object_headers import entity_headers, http_date_of
from shoal_gateway.s3.object_headers import checksum_headers, is_checksum, object_headers
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


REST = shape(entity_headers(MARKED), ETAG, DATE, CHECKSUM_VALUE, TIME, SEQUENCE)
S3 = shape(object_headers(MARKED), ETAG, DATE)
WHOLE = "content-length: %s\r\nx-request-id: %s\r\n\r\n"
PART = "content-length: %s\r\ncontent-range: bytes %s-%s/%s\r\nx-request-id: %s\r\n\r\n"
TEXTS_MAX = 256


@lru_cache(4096)
def date_of(seconds: int) -> str:
    return http_date_of(seconds).decode()


class PlainHeads:
    """Keeps a text with holes for each type of content and of checksum, until the lines that begin every answer change,
    which they do once a second."""

    def __init__(self) -> None:
        self._common: Headers = []
        self._rest: dict[tuple[str, str, bool], str] = {}
        self._s3: dict[tuple[str, bool], str] = {}

    def rest(self, found: ReadyObject, common: Headers) -> bytes | None:
        """Of a GET through AIStore's API. None when the object is not plain."""
        record, part = found.record, found.range
        etag, checksum = record.etag, record.checksum_value
        varying = etag + checksum
        if record.metadata or not checksum or not (varying.isascii() and varying.isprintable()):
            return None
        if common is not self._common:
            self._begin_anew(common)
        key = record.content_type, record.checksum_type, part is None
        if (text := self._rest.get(key)) is None and (text := self._rest_text(*key)) is None:
            return None
        time, size, sequence, identity = record.modified_ns, record.size, record.sequence, new_request_id()
        date = date_of(time // 1_000_000_000)
        if part is None:
            return (text % (etag, date, checksum, time, sequence, size, identity)).encode()
        return (text % (etag, date, checksum, time, sequence, *sizes_of(part, size), identity)).encode()

    def s3(self, found: ReadyObject, common: Headers, *, checksums: bool = False) -> bytes | None:
        """Of a GET or HEAD through S3. None when the object is not plain, for which its checksums do not count.

        Args:
            checksums: whether to add them.
        """
        record, part = found.record, found.range
        etag, told = record.etag, ""
        if record.metadata or not (etag.isascii() and etag.isprintable()):
            return None
        if record.headers:
            if not all(map(is_checksum, record.headers)) or not all(map(is_plain, record.headers.values())):
                return None
            told = text_of(checksum_headers(record.headers)) if checksums else ""
        if common is not self._common:
            self._begin_anew(common)
        key = record.content_type, part is None
        if (text := self._s3.get(key)) is None and (text := self._s3_text(*key)) is None:
            return None
        date, identity, size = date_of(record.modified_ns // 1_000_000_000), new_request_id(), record.size
        if part is None:
            return (text % (etag, date, told, identity, size, identity)).encode()
        return (text % (etag, date, told, identity, *sizes_of(part, size), identity)).encode()

    def _begin_anew(self, common: Headers) -> None:
        self._common, self._rest, self._s3 = common, {}, {}

    def _rest_text(self, content_type: str, checksum_type: str, whole: bool) -> str | None:
        if not is_plain(content_type + checksum_type):
            return None
        lines = REST.replace(CHECKSUM_TYPE, escaped(checksum_type)).replace(TYPE, escaped(content_type))
        text = self._text(lines, whole=whole)
        if len(self._rest) < TEXTS_MAX:
            self._rest[content_type, checksum_type, whole] = text
        return text

    def _s3_text(self, content_type: str, whole: bool) -> str | None:
        if not is_plain(content_type):
            return None
        lines = S3.replace(TYPE, escaped(content_type)) + "%sx-amz-request-id: %s\r\n"
        text = self._text(lines, whole=whole)
        if len(self._s3) < TEXTS_MAX:
            self._s3[content_type, whole] = text
        return text

    def _text(self, lines: str, *, whole: bool) -> str:
        status, end = ("200 OK", WHOLE) if whole else ("206 Partial Content", PART)
        return f"HTTP/1.1 {status}\r\n{escaped(text_of(self._common))}{lines}{end}"


def is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def escaped(text: str) -> str:
    return text.replace("%", "%%")


def sizes_of(part: ByteRange, size: int) -> tuple[int, int, int, int]:
    return part.length, part.offset, part.offset + part.length - 1, size
