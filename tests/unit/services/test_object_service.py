"""Objects over gRPC: a real target, directly and through a proxy, with bare stubs that know only the CA."""

from __future__ import annotations

import hashlib

import grpc
import grpc.aio
import pytest

from shoal.common.v1.common_pb2 import BucketReference, Checksum
from shoal.object.v1.object_pb2 import (
    DeleteObjectRequest,
    GetObjectRequest,
    ListObjectsRequest,
    Object,
    Preconditions,
    PutObjectRequest,
)
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from support.uploads import finish, frame, get, head, put, reason, specification, upload

LARGE = bytes(range(256)) * 10_000
"""2.5 MB: three frames, and a chunk file."""


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_what_was_put_is_read_back(
    objects: ObjectServiceStub, bucket: BucketReference, data: bytes
) -> None:
    written = await put(objects, bucket, "a/b", data=data)
    assert await get(objects, bucket, "a/b") == data
    assert await head(objects, bucket, "a/b") == written
    assert written.size == len(data)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(5, 10, LARGE[5:15]), (1 << 20, 0, LARGE[1 << 20 :]), (-7, 0, LARGE[-7:]), (0, 1 << 40, LARGE)],
)
async def test_a_range_holds_its_bytes_only(
    objects: ObjectServiceStub, bucket: BucketReference, offset: int, length: int, expected: bytes
) -> None:
    await put(objects, bucket, "r", data=LARGE)
    assert await get(objects, bucket, "r", offset=offset, length=length) == expected


async def test_a_range_past_the_end_is_refused_with_the_size(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    await put(objects, bucket, "r", data=b"0123456789")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await get(objects, bucket, "r", offset=10)
    assert reason(refusal.value) == "RANGE_NOT_SATISFIABLE"


async def test_a_deleted_object_is_not_found(objects: ObjectServiceStub, bucket: BucketReference) -> None:
    written = await put(objects, bucket, "gone", data=b"x")
    answer = await objects.DeleteObject(DeleteObjectRequest(bucket=bucket, name="gone"), timeout=10)
    assert answer.object == written
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await get(objects, bucket, "gone")
    assert reason(refusal.value) == "OBJECT_NOT_FOUND"


async def test_pages_of_a_listing_hold_every_name_once(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    names = sorted(f"n{number}" for number in range(7))
    for name in names:
        await put(objects, bucket, name, data=b"x")
    listed: list[Object] = []
    token = ""
    while not listed or token:
        request = ListObjectsRequest(bucket=bucket, page_size=3, page_token=token)
        page = await objects.ListObjects(request, timeout=10)
        listed.extend(page.objects)
        token = page.next_page_token
    assert [each.name for each in listed] == names


async def test_a_delimiter_folds_names_into_prefixes(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    for name in ("a/1", "a/2", "b", "c/1"):
        await put(objects, bucket, name, data=b"x")
    page = await objects.ListObjects(ListObjectsRequest(bucket=bucket, delimiter="/"), timeout=10)
    assert [each.name for each in page.objects] == ["b"]
    assert list(page.prefixes) == ["a/", "c/"]


async def test_a_write_whose_condition_does_not_hold_changes_nothing(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    await put(objects, bucket, "c", data=b"old")
    condition = specification(bucket, "c")
    condition.specification.preconditions.CopyFrom(Preconditions(if_none_match=["*"]))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await upload(objects, condition, frame(0, b"new"), finish(3))
    assert reason(refusal.value) == "PRECONDITION_FAILED"
    assert await get(objects, bucket, "c") == b"old"


def wrong_uploads(bucket: BucketReference) -> dict[str, tuple[str, list[PutObjectRequest]]]:
    begin, body = specification(bucket, "w"), frame(0, LARGE[:70_000])
    md5 = Checksum(type="md5", value=hashlib.md5(b"other").hexdigest())
    checked = specification(bucket, "w", checksums=[md5])
    return {
        "no specification": ("INVALID_ARGUMENT", [body, finish(70_000)]),
        "nothing at all": ("INVALID_ARGUMENT", []),
        "gap": ("INVALID_ARGUMENT", [begin, body, frame(70_001, b"x"), finish(70_002)]),
        "overlap": ("INVALID_ARGUMENT", [begin, body, frame(69_999, b"x"), finish(70_000)]),
        "empty frame": ("INVALID_ARGUMENT", [begin, frame(0, b""), finish(0)]),
        "frame too large": ("INVALID_ARGUMENT", [begin, frame(0, bytes((1 << 20) + 1)), finish(1 << 20)]),
        "wrong crc": ("CHECKSUM_MISMATCH", [begin, frame(0, b"x", checksum=1), finish(1)]),
        "no finish": ("INVALID_ARGUMENT", [begin, body]),
        "finish too small": ("SIZE_MISMATCH", [begin, body, finish(69_999)]),
        "finish too large": ("SIZE_MISMATCH", [begin, body, finish(70_001)]),
        "shorter than announced": (
            "SIZE_MISMATCH",
            [specification(bucket, "w", size=9), frame(0, b"x"), finish(1)],
        ),
        "longer than announced": (
            "SIZE_MISMATCH",
            [specification(bucket, "w", size=1), body, finish(70_000)],
        ),
        "wrong checksum": ("CHECKSUM_MISMATCH", [checked, body, finish(70_000)]),
        "unknown checksum": (
            "INVALID_ARGUMENT",
            [specification(bucket, "w", checksums=[Checksum(type="sum", value="0")]), finish(0)],
        ),
        "two of one type": (
            "INVALID_ARGUMENT",
            [specification(bucket, "w", checksums=[md5, md5]), finish(0)],
        ),
        "second specification": ("INVALID_ARGUMENT", [begin, begin, finish(0)]),
        "negative size": ("INVALID_ARGUMENT", [specification(bucket, "w", size=-1), finish(0)]),
        "no name": ("INVALID_NAME", [specification(bucket, ""), finish(0)]),
        "long name": ("INVALID_NAME", [specification(bucket, "x" * 1025), finish(0)]),
    }


@pytest.mark.parametrize("fault", wrong_uploads(BucketReference()))
async def test_a_wrong_upload_is_refused_and_the_old_object_stays(
    objects: ObjectServiceStub, bucket: BucketReference, fault: str
) -> None:
    before = await put(objects, bucket, "w", data=b"old")
    expected, messages = wrong_uploads(bucket)[fault]
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await upload(objects, *messages)
    # A refusal in the middle of an upload may reach this bare stub as the broken stream alone.
    if refusal.value.code() is not grpc.StatusCode.INTERNAL:
        assert reason(refusal.value) == expected
    assert await head(objects, bucket, "w") == before
    assert await get(objects, bucket, "w") == b"old"


async def test_users_may_not_choose_the_etag(objects: ObjectServiceStub, bucket: BucketReference) -> None:
    begin = specification(bucket, "e")
    begin.specification.etag = "mine"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await upload(objects, begin, finish(0))
    assert reason(refusal.value) == "PERMISSION_DENIED"


@pytest.mark.parametrize(("offset", "length"), [(0, -1), (-5, 2)])
async def test_a_range_that_means_nothing_is_refused(
    objects: ObjectServiceStub, bucket: BucketReference, offset: int, length: int
) -> None:
    await put(objects, bucket, "r", data=b"0123456789")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await get(objects, bucket, "r", offset=offset, length=length)
    assert reason(refusal.value) == "INVALID_ARGUMENT"


async def test_an_unknown_bucket_is_not_found(objects: ObjectServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await objects.GetObject(
            GetObjectRequest(bucket=BucketReference(name="none"), name="x"), timeout=10
        ).read()
    assert reason(refusal.value) == "BUCKET_NOT_FOUND"
