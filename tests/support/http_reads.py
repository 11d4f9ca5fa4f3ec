"""A store whose objects are read over HTTP, so that the contract of `ObjectStore` can be asked of a gateway's doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from urllib.parse import quote

import msgspec

from shoal_core.errors import NotModified, ObjectNotFound, PreconditionFailed, RangeNotSatisfiable, ShoalError
from shoal_core.objects import (
    FRAME_BYTES,
    NO_PRECONDITIONS,
    Bucket,
    ByteRange,
    ListPage,
    ListQuery,
    ObjectInfo,
    ObjectStore,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from support.lane_doors import Door, Outcome
from support.lane_requests import Signed

ERRORS: Mapping[bytes, type[ShoalError]] = {
    b"304": NotModified,
    b"404": ObjectNotFound,
    b"412": PreconditionFailed,
    b"416": RangeNotSatisfiable,
}


class ReceivedBody:
    """`ObjectBody` that has come whole."""

    def __init__(self, info: ObjectInfo, range: ByteRange | None, data: bytes) -> None:
        self.info = info
        self.range = range
        self._data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), FRAME_BYTES):
            yield self._data[start : start + FRAME_BYTES]

    async def close(self) -> None: ...


class HttpReads:
    """`open` asks `door`, twice, as the second time may be faster; everything else asks `store`."""

    def __init__(self, store: ObjectStore, door: Door) -> None:
        self._store = store
        self._door = door

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ReceivedBody:
        if preconditions.if_version is not None:
            raise NotImplementedError("HTTP has no word for a version")
        request = Signed("GET", f"/v1/objects/{bucket.reference.name}/{quote(name)}")
        request.headers += headers_of(range, preconditions)
        await self._answer(request)
        answer = await self._answer(request)
        headers = dict(answer.headers)
        info = await self._store.head(bucket, name)
        if headers[b"etag"] != f'"{info.etag}"'.encode():
            # Replaced since. What this version was, HTTP has told but in part.
            info = msgspec.structs.replace(
                info, etag=headers[b"etag"].strip(b'"').decode(), size=len(answer.body)
            )
        return ReceivedBody(info, part_of(headers), answer.body)

    async def _answer(self, request: Signed) -> Outcome:
        (answer,) = await self._door.ask([request], [])
        if (kind := ERRORS.get(answer.status.split()[1])) is not None:
            size = dict(answer.headers).get(b"content-range", b"").removeprefix(b"bytes */").decode()
            raise kind(answer.body.decode() or "no body", size=size)
        assert answer.status.split()[1] in (b"200", b"206"), answer
        return answer

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        return await self._store.put(bucket, request, body)

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await self._store.head(bucket, name, preconditions=preconditions)

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await self._store.delete(bucket, name, preconditions=preconditions)

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        return await self._store.list(bucket, query)


def headers_of(range: RangeRequest | None, preconditions: Preconditions) -> list[tuple[str, str]]:
    headers = []
    if range is not None:
        first, last = ("" if each is None else str(each) for each in (range.first, range.last))
        headers.append(("Range", f"bytes={first}-{last}"))
    for name, etags in (("If-Match", preconditions.if_match), ("If-None-Match", preconditions.if_none_match)):
        if etags:
            headers.append((name, ", ".join(etag if etag == "*" else f'"{etag}"' for etag in etags)))
    dates = (
        ("If-Modified-Since", preconditions.if_modified_since_ns),
        ("If-Unmodified-Since", preconditions.if_unmodified_since_ns),
    )
    return headers + [
        (name, formatdate(since // 10**9, usegmt=True)) for name, since in dates if since is not None
    ]


def part_of(headers: Mapping[bytes, bytes]) -> ByteRange | None:
    if b"content-range" not in headers:
        return None
    first, _, last = headers[b"content-range"].removeprefix(b"bytes ").partition(b"/")[0].partition(b"-")
    return ByteRange(int(first), int(last) - int(first) + 1)
