"""`Object` of the official SDK: write, read whole and in part, head, overwrite, delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import xxhash
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError, ErrBckNotFound, ErrObjNotFound

from support.sdk_versions import IS_OLDER, selected

BODY = os.urandom(3 << 20) + b"tail"


@pytest.mark.parametrize("size", [0, 1, 4096, 32768, 32769, 1 << 20, (1 << 20) + 1])
def test_content_of_any_size_comes_back(bucket: Bucket, size: int) -> None:
    bucket.object("o").get_writer().put_content(BODY[:size])
    assert bucket.object("o").get_reader().read_all() == BODY[:size]


def test_a_file_comes_back(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    bucket.object("folder/file").get_writer().put_file(path)
    reader = bucket.object("folder/file").get_reader()
    assert reader.read_all() == BODY
    assert b"".join(reader) == BODY
    assert reader.raw().read() == BODY


@pytest.mark.parametrize(
    ("byte_range", "expected"),
    [
        ("bytes=0-9", BODY[:10]),
        ("bytes=1048570-1048590", BODY[1048570:1048591]),
        ("bytes=3145728-", b"tail"),
        ("bytes=-6", BODY[-6:]),
    ],
    ids=["first", "across-a-border", "open", "last"],
)
def test_ranges_are_exact(bucket: Bucket, byte_range: str, expected: bytes) -> None:
    bucket.object("o").get_writer().put_content(BODY)
    assert bucket.object("o").get_reader(byte_range=byte_range).read_all() == expected


def test_a_range_beyond_the_object_is_416(bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(b"short")
    with pytest.raises(AISError) as error:
        bucket.object("o").get_reader(byte_range="bytes=100-").read_all()
    assert error.value.status_code == 416


def test_reading_directly_from_the_target_works(bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(BODY)
    assert bucket.object("o").get_reader(direct=True).read_all() == BODY


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parallel_reading_works(bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(BODY)
    with bucket.object("o").get_reader(num_workers=2, chunk_size=1 << 20).read_all() as buffer:
        assert buffer.tobytes() == BODY


def test_head_and_props_tell_what_is_known(bucket: Bucket) -> None:
    item = bucket.object("o")
    item.get_writer().put_content(b"hello")
    props = item.props
    assert (props.size, props.obj_version, props.present) == (5, "1", True)
    assert (props.checksum_type, props.checksum_value) == ("xxhash2", xxhash.xxh64_hexdigest(b"hello"))
    assert int(props.access_time) > 1_700_000_000_000_000_000
    assert selected(item, "etag,last-modified").etag
    head: Any = item.head()
    assert (int(head["content-length"]) if IS_OLDER else head.size) == 5


@pytest.mark.skipif(not IS_OLDER, reason="since 2.0 there is one `head`")
def test_the_older_head_gives_all_headers_and_a_second_one_what_is_asked_for(bucket: Bucket) -> None:
    item: Any = bucket.object("o")
    item.get_writer().put_content(b"hello")
    headers = item.head()
    assert (headers["ais-checksum-type"], headers["ais-name"], headers["ais-present"]) == (
        "xxhash2",
        "o",
        "true",
    )
    assert headers["ais-bucket-name"] == bucket.name
    found = item.head_v2("checksum,version,etag")
    assert (found.checksum_value, found.obj_version) == (xxhash.xxh64_hexdigest(b"hello"), "1")
    assert item.head_v2().size == 5
    with pytest.raises(AISError):
        item.head_v2("no-such-property")


def test_an_overwrite_replaces_and_counts(bucket: Bucket) -> None:
    item = bucket.object("o")
    for body in (b"first", BODY, b"third"):
        item.get_writer().put_content(body)
        assert item.get_reader().read_all() == body
    assert item.props.obj_version == "3"


def test_a_deleted_object_is_gone(bucket: Bucket) -> None:
    item = bucket.object("o")
    item.get_writer().put_content(b"x")
    item.delete()
    for call in (item.delete, item.get_reader().read_all):
        with pytest.raises(ErrObjNotFound):
            call()
    with pytest.raises(AISError) as error:
        item.head()
    assert error.value.status_code == 404


def test_objects_of_a_missing_bucket_are_a_missing_bucket(client: Client) -> None:
    item = client.bucket("missing").object("o")
    for call in (item.get_reader().read_all, lambda: item.get_writer().put_content(b"x")):
        with pytest.raises(ErrBckNotFound):
            call()


@pytest.mark.parametrize(
    "name", ["%", "%25", "\u4f60\u597d\u4e16\u754c", "track?name=x&y", "a#b", "a b+c", "x" * 1024]
)
def test_odd_names_come_back(bucket: Bucket, name: str) -> None:
    bucket.object(name).get_writer().put_content(b"x")
    assert [entry.name for entry in bucket.list_all_objects()] == [name]


@pytest.mark.parametrize("name", ["%", "\u4f60\u597d", "track?name=x&y", "a#b", "a b+c"])
def test_odd_names_are_read_back(bucket: Bucket, name: str) -> None:
    bucket.object(name).get_writer().put_content(name.encode())
    assert bucket.object(name).get_reader().read_all() == name.encode()
    assert bucket.object(name).props.size == len(name.encode())
