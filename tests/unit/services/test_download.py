"""Object bodies as `google.api.HttpBody`: what JSON callers get through a transcoder."""

from __future__ import annotations

import grpc.aio
import pytest

from shoal.common.v1.common_pb2 import BucketReference
from shoal.object.v1.object_pb2 import DownloadObjectRequest
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from support.uploads import put, reason

LARGE = bytes(range(256)) * 10_000


async def download(objects: ObjectServiceStub, request: DownloadObjectRequest) -> tuple[list[str], bytes]:
    """The media types of all messages, and the bytes together."""
    answers = [each async for each in objects.DownloadObject(request, timeout=10)]
    return [each.content_type for each in answers], b"".join(each.data for each in answers)


async def test_the_first_message_holds_the_media_type_and_all_hold_bytes(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    await put(objects, bucket, "large", data=LARGE)
    types, data = await download(objects, DownloadObjectRequest(bucket=bucket, name="large"))
    assert types == ["application/octet-stream"] + [""] * (len(types) - 1)
    assert len(types) > 1
    assert data == LARGE


async def test_an_empty_object_still_has_its_media_type(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    await put(objects, bucket, "empty", data=b"")
    answer = await download(objects, DownloadObjectRequest(bucket=bucket, name="empty"))
    assert answer == (["application/octet-stream"], b"")


async def test_a_range_of_a_download_holds_its_bytes_only(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    await put(objects, bucket, "r", data=LARGE)
    request = DownloadObjectRequest(bucket=bucket, name="r", offset=5, length=10)
    assert (await download(objects, request))[1] == LARGE[5:15]


async def test_a_download_of_a_missing_object_says_so(
    objects: ObjectServiceStub, bucket: BucketReference
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await download(objects, DownloadObjectRequest(bucket=bucket, name="none"))
    assert reason(refusal.value) == "OBJECT_NOT_FOUND"
