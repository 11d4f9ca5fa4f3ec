"""Uploads and downloads with bare stubs, right or wrong in one place, as clients in any language make them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
import grpc.aio
from crc32c import crc32c

from shoal.common.v1.common_pb2 import BucketReference, Checksum
from shoal.object.v1.object_pb2 import (
    Frame,
    GetObjectRequest,
    HeadObjectRequest,
    Object,
    PutObjectFinish,
    PutObjectRequest,
    PutObjectSpecification,
)
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_core.error_table import error_info, status_of

SECONDS_MAX = 20


def specification(
    bucket: BucketReference, name: str, *, size: int | None = None, checksums: Sequence[Checksum] = ()
) -> PutObjectRequest:
    return PutObjectRequest(
        specification=PutObjectSpecification(bucket=bucket, name=name, size=size, checksums=checksums)
    )


def frame(offset: int, data: bytes, *, checksum: int | None = None) -> PutObjectRequest:
    right = crc32c(data)
    return PutObjectRequest(
        frame=Frame(offset=offset, data=data, crc32c=right if checksum is None else checksum)
    )


def finish(size: int) -> PutObjectRequest:
    return PutObjectRequest(finish=PutObjectFinish(size=size))


async def upload(objects: ObjectServiceStub, *messages: PutObjectRequest) -> Object:
    async def sent() -> AsyncIterator[PutObjectRequest]:
        for message in messages:
            yield message

    return (await objects.PutObject(sent(), timeout=SECONDS_MAX)).object


async def put(objects: ObjectServiceStub, bucket: BucketReference, name: str, *, data: bytes) -> Object:
    piece = 1 << 20
    frames = [frame(start, data[start : start + piece]) for start in range(0, len(data), piece)]
    return await upload(objects, specification(bucket, name), *frames, finish(len(data)))


async def get(
    objects: ObjectServiceStub, bucket: BucketReference, name: str, *, offset: int = 0, length: int = 0
) -> bytes:
    request = GetObjectRequest(bucket=bucket, name=name, offset=offset, length=length)
    pieces = []
    async for message in objects.GetObject(request, timeout=SECONDS_MAX):
        assert crc32c(message.frame.data) == message.frame.crc32c
        pieces.append(message.frame.data)
    return b"".join(pieces)


async def head(objects: ObjectServiceStub, bucket: BucketReference, name: str) -> Object:
    request = HeadObjectRequest(bucket=bucket, name=name)
    return (await objects.HeadObject(request, timeout=SECONDS_MAX)).object


def reason(error: grpc.aio.AioRpcError) -> str:
    """The machine-readable reason of a failed call."""
    status = status_of(error)
    info = error_info(status) if status is not None else None
    assert info is not None, error
    name: str = info.reason
    return name
