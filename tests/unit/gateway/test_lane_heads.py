"""Heads that are filled in say what the ordinary path's functions would say, or nothing."""

from __future__ import annotations

import pytest

from shoal_core.objects import ByteRange, Version
from shoal_gateway.lane.heads import PlainHeads, text_of
from shoal_gateway.rest.object_headers import entity_headers
from shoal_gateway.s3.object_headers import object_headers
from shoal_store.ready import ReadyObject
from shoal_store.record import Record

COMMON = [(b"date", b"Fri, 27 Nov 2026 21:41:36 GMT"), (b"server", b"shoal")]
PLAIN = Record(
    size=4096, etag="738e309c7f9ac9eb", checksum_type="xxhash2", checksum_value="1f85d1a52fb09392",
    content_type="text/plain; charset=utf-8", metadata={}, version=Version(bytes(12)), sequence=7,
    modified_ns=1_795_815_829_906_875_258,
)  # fmt: skip


def found(record: Record, part: ByteRange | None = None) -> ReadyObject:
    return ReadyObject(record, "t[t1]:mp1", part)


def changed(**fields: object) -> Record:
    values = {name: getattr(PLAIN, name) for name in Record.__struct_fields__}
    return Record(**(values | fields))


def lines(head: bytes | None) -> list[str]:
    assert head is not None
    assert head.endswith(b"\r\n\r\n")
    return head.decode().removesuffix("\r\n\r\n").split("\r\n")


def test_a_plain_object_has_the_headers_that_rest_gives() -> None:
    status, *headers = lines(PlainHeads().rest(found(PLAIN), COMMON))
    assert status == "HTTP/1.1 200 OK"
    assert headers[-2] == "content-length: 4096"
    assert headers[-1].startswith("x-request-id: ")
    expected = text_of([*COMMON, *entity_headers(PLAIN.info("name", ""))])
    assert headers[:-2] == expected.removesuffix("\r\n").split("\r\n")


def test_a_plain_object_has_the_headers_that_s3_gives() -> None:
    _, *headers = lines(PlainHeads().s3(found(PLAIN), COMMON))
    *headers, s3_identity, length, identity = headers
    expected = text_of([*COMMON, *object_headers(PLAIN.info("name", ""))])
    assert headers == expected.removesuffix("\r\n").split("\r\n")
    assert length == "content-length: 4096"
    assert s3_identity == "x-amz-request-id: " + identity.removeprefix("x-request-id: ")


def test_a_part_says_which_one_it_is() -> None:
    status, *headers = lines(PlainHeads().rest(found(PLAIN, ByteRange(10, 90)), COMMON))
    assert status == "HTTP/1.1 206 Partial Content"
    assert headers[-3:-1] == ["content-length: 90", "content-range: bytes 10-99/4096"]


def test_the_lines_that_are_common_follow_the_second() -> None:
    heads, later = PlainHeads(), [(b"date", b"Fri, 27 Nov 2026 21:41:37 GMT")]
    heads.rest(found(PLAIN), COMMON)
    assert lines(heads.rest(found(PLAIN), later))[1] == "date: Fri, 27 Nov 2026 21:41:37 GMT"


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"colour": "blue"}},
        {"etag": "a\nb"},
        {"content_type": "caf\u00e9"},
        {"content_type": "a\x7f"},
    ],
    ids=repr,
)
def test_what_is_not_plain_is_left_to_the_ordinary_functions(fields: dict[str, object]) -> None:
    record = changed(**fields)
    assert PlainHeads().rest(found(record), COMMON) is None
    assert PlainHeads().s3(found(record), COMMON) is None


def test_an_object_without_checksum_is_plain_for_s3_alone() -> None:
    record = changed(checksum_type="none", checksum_value="")
    assert PlainHeads().rest(found(record), COMMON) is None
    assert PlainHeads().s3(found(record), COMMON) is not None


def test_headers_of_its_own_are_s3s_alone() -> None:
    record = changed(headers={"cache-control": "no-store"})
    assert PlainHeads().rest(found(record), COMMON) is not None
    assert PlainHeads().s3(found(record), COMMON) is None


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("part", [None, ByteRange(10, 90)])
def test_checksums_are_told_to_whoever_asks(checksums: bool, part: ByteRange | None) -> None:
    record = changed(headers={"x-amz-checksum-crc32": "NhCmhg==", "x-amz-checksum-type": "FULL_OBJECT"})
    expected = text_of([*COMMON, *object_headers(record.info("name", ""), checksums=checksums)])
    heads = PlainHeads()
    for each in (record, PLAIN, record):
        _, *headers = lines(heads.s3(found(each, part), COMMON, checksums=checksums))
    assert headers[: expected.count("\r\n")] == expected.removesuffix("\r\n").split("\r\n")
    assert ("x-amz-checksum-crc32: NhCmhg==" in headers) is checksums


@pytest.mark.parametrize("value", ["caf\u00e9", "a\r\nb: c"])
def test_a_checksum_that_is_no_header_is_left_to_the_ordinary_functions(value: str) -> None:
    record = changed(headers={"x-amz-checksum-crc32": value})
    assert PlainHeads().s3(found(record), COMMON, checksums=True) is None


@pytest.mark.parametrize(
    "content_type", ["text/%s", "a/%d%%", "checksum-type-mark", "etag-mark", "text/plain", "x/y"]
)
def test_a_type_of_content_is_written_as_it_is_whatever_was_asked_for_before(content_type: str) -> None:
    heads = PlainHeads()
    for kind in ("text/plain", content_type, "text/plain", content_type):
        record = changed(content_type=kind, etag=kind.replace("/", "-"))
        headers = lines(heads.rest(found(record), COMMON))[1:-2]
        expected = text_of([*COMMON, *entity_headers(record.info("name", ""))])
        assert headers == expected.removesuffix("\r\n").split("\r\n")
        assert f"content-type: {kind}" in [line.lower() for line in lines(heads.s3(found(record), COMMON))]
