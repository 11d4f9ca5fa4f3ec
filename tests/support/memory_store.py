"""`MemoryObjectStore`: an `ObjectStore` in a dictionary, proved by the same contract suite as the real ones.

It lets tests look inside (`names`) and choose what goes wrong (`failure`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import msgspec

from shoal_core.copying import copy_bytes
from shoal_core.errors import (
    InvalidName,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    ShoalError,
)
from shoal_core.objects import (
    FRAME_BYTES,
    NO_PRECONDITIONS,
    OBJECT_NAME_BYTES_MAX,
    Bucket,
    BucketId,
    ByteRange,
    CopyRequest,
    ListPage,
    ListQuery,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
    Version,
)
from shoal_core.part_runs import PartRun
from support.memory_content import check_content, content_etag, kept_checksum
from support.memory_uploads import MemoryUploads


class MemoryObjectStore(MemoryUploads):
    def __init__(self, location: str = "t[memory]:mp1") -> None:
        super().__init__()
        self.failure: ShoalError | None = None
        self._location = location
        self._objects: dict[tuple[BucketId, str], tuple[ObjectInfo, bytes]] = {}
        self._versions = 0

    @property
    def names(self) -> list[str]:
        return sorted(name for _, name in self._objects)

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        self._fail(request.name)
        data = b"".join([piece async for piece in body])
        check_content(request, data)
        known = self._objects.get((bucket.id, request.name), (None, b""))[0]
        check_conditions(request.preconditions, known, reading=False)
        self._versions += 1
        info = ObjectInfo(
            name=request.name,
            size=len(data),
            version=Version(time.time_ns().to_bytes(8) + self._versions.to_bytes(4)),
            sequence=known.sequence + 1 if known else 1,
            etag=request.etag or content_etag(request, data),
            checksum=kept_checksum(bucket, data),
            modified_ns=time.time_ns(),
            content_type=request.content_type,
            metadata=dict(request.metadata),
            location=self._location,
            headers={**request.headers, **request.late_headers()},
        )
        info = with_chunks(bucket, info)
        self._objects[bucket.id, request.name] = info, data
        return info

    def with_parts(self, bucket: Bucket, info: ObjectInfo, parts: tuple[PartRun, ...]) -> ObjectInfo:
        info = msgspec.structs.replace(
            info,
            parts=parts,
            chunk_count=sum(run.count for run in parts),
            chunk_bytes_max=max(run.size for run in parts),
        )
        self._objects[bucket.id, info.name] = info, self._objects[bucket.id, info.name][1]
        return info

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> MemoryBody:
        info = self._current(bucket, name)
        check_conditions(preconditions, info, reading=True)
        resolved = range.resolve(info.size) if range else None
        if range and resolved is None:
            raise RangeNotSatisfiable(f"{name} has {info.size} bytes", size=str(info.size))
        return MemoryBody(info, resolved, self._objects[bucket.id, name][1])

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        info = self._current(bucket, name)
        check_conditions(preconditions, info, reading=True)
        return info

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        known = self._objects.get((bucket.id, name), (None, b""))[0]
        self._fail(name)
        check_conditions(preconditions, known, reading=False)
        info = self._current(bucket, name)
        del self._objects[bucket.id, name]
        return info

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        self._fail("x")
        found: dict[str, ObjectInfo | None] = {}
        for (bucket_id, name), (info, _) in self._objects.items():
            if bucket_id == bucket.id and name.startswith(query.prefix):
                key = folded(name, query)
                found[key] = None if key != name or is_folded(name, query) else info
        after = sorted(key for key in found if key > query.start_after)
        shown = {key: found[key] for key in after[: query.limit]}
        return ListPage(
            entries=tuple(info for info in shown.values() if info is not None),
            prefixes=tuple(key for key, info in shown.items() if info is None),
            next_after=max(shown) if len(after) > len(shown) else "",
        )

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        return await copy_bytes(self, self, bucket, request)

    async def annotate(
        self,
        bucket: Bucket,
        name: str,
        metadata: Mapping[str, str],
        *,
        replace: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectInfo:
        info = self._current(bucket, name)
        check_conditions(preconditions, info, reading=False)
        kept = {} if replace else info.metadata
        info = msgspec.structs.replace(info, metadata={**kept, **metadata})
        self._objects[bucket.id, name] = info, self._objects[bucket.id, name][1]
        return info

    def check_name(self, name: str) -> None:
        self._fail(name)

    def is_current(self, bucket: Bucket, info: ObjectInfo) -> bool:
        return self._objects.get((bucket.id, info.name), (None, b""))[0] == info

    def _current(self, bucket: Bucket, name: str) -> ObjectInfo:
        self._fail(name)
        if (bucket.id, name) not in self._objects:
            raise ObjectNotFound(
                f"{bucket.reference}/{name} does not exist", bucket=str(bucket.reference), name=name
            )
        return self._objects[bucket.id, name][0]

    def _fail(self, name: str) -> None:
        if self.failure is not None:
            raise self.failure
        if not 0 < len(name.encode(errors="replace")) <= OBJECT_NAME_BYTES_MAX or "\0" in name:
            raise InvalidName(f"object name {name!r} is not 1 to 1,024 bytes without NUL")


@dataclass(slots=True)
class MemoryBody:
    info: ObjectInfo
    range: ByteRange | None
    data: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        wanted = self.range or ByteRange(0, len(self.data))
        data = self.data[wanted.offset : wanted.offset + wanted.length]
        for start in range(0, len(data), FRAME_BYTES):
            yield data[start : start + FRAME_BYTES]

    async def close(self) -> None: ...


def folded(name: str, query: ListQuery) -> str:
    if not is_folded(name, query):
        return name
    return name[: name.index(query.delimiter, len(query.prefix)) + len(query.delimiter)]


def is_folded(name: str, query: ListQuery) -> bool:
    return bool(query.delimiter) and query.delimiter in name[len(query.prefix) :]


def check_conditions(conditions: Preconditions, info: ObjectInfo | None, *, reading: bool) -> None:
    """In the order of RFC 9110, section 13.2.2; times in whole seconds, as HTTP has them."""
    since = conditions.if_unmodified_since_ns
    if conditions.if_match:
        if not matches(conditions.if_match, info):
            raise PreconditionFailed("if_match does not hold", condition="if_match")
    elif since is not None and info is not None and info.modified_ns // 10**9 > since // 10**9:
        raise PreconditionFailed("it was modified since", condition="if_unmodified_since")
    if conditions.if_version is not None and (info is None or info.version != conditions.if_version):
        raise PreconditionFailed("if_version does not hold", condition="if_version")
    since = conditions.if_modified_since_ns
    if conditions.if_none_match:
        if matches(conditions.if_none_match, info):
            kind = NotModified if reading else PreconditionFailed
            raise kind("if_none_match does not hold", condition="if_none_match")
    elif reading and since is not None and info is not None and info.modified_ns // 10**9 <= since // 10**9:
        raise NotModified("it was not modified since", condition="if_modified_since")


def matches(etags: tuple[str, ...], info: ObjectInfo | None) -> bool:
    return info is not None and ("*" in etags or info.etag in etags)


def with_chunks(bucket: Bucket, info: ObjectInfo) -> ObjectInfo:
    """As an engine would tell of the chunks of an object of this size."""
    above, chunk_bytes = bucket.properties.chunk_above_bytes, bucket.properties.chunk_bytes
    if not above or info.size <= above:
        return info
    count = -(-info.size // chunk_bytes)
    return msgspec.structs.replace(info, chunk_count=count, chunk_bytes_max=chunk_bytes)
