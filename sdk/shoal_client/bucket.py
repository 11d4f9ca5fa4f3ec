"""`BucketClient`: the objects of one bucket, in the words of a Python program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from shoal_client.body import Content, source_of
from shoal_client.download import download
from shoal_client.files import write_file
from shoal_client.local_reads import LocalObject, open_local
from shoal_client.parallel import RANGE_BYTES, ParallelObject
from shoal_client.replay import ReplayableBody
from shoal_core.cluster_map import ClusterMap
from shoal_core.descriptors import descriptor_socket_of
from shoal_core.errors import BucketNotFound, OwnerUnreachable, PreconditionFailed, StaleEpoch
from shoal_core.host import host_id
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    BucketReference,
    ByteRange,
    ListPage,
    ListQuery,
    ObjectBody,
    ObjectInfo,
    ObjectStore,
    Preconditions,
    PutRequest,
    RangeRequest,
)

T = TypeVar("T")
LIST_PAGE = 1000
ATTEMPTS_LEFT = (2, 1, 0)


class Cluster(Protocol):
    """What a bucket needs of the client."""

    @property
    def objects(self) -> ObjectStore: ...

    def lane(self, number: int) -> ObjectStore: ...

    @property
    def cluster_map(self) -> ClusterMap: ...

    async def resolve(self, reference: BucketReference, *, fresh: bool = False) -> Bucket: ...


class BucketClient:
    """Raises the errors of `shoal_core.errors`, for example BucketNotFound and ObjectNotFound."""

    def __init__(self, cluster: Cluster, reference: BucketReference) -> None:
        self._cluster = cluster
        self.reference = reference

    async def put(
        self,
        name: str,
        content: Content,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Write an object. Durable once this returns; when it raises, the object is as it was before.

        Bytes and files are sent with their checksum, and the server compares. An iterator's pieces may have
        any size; each MiB of them is covered by a checksum on the way. `progress` is told the bytes of each
        piece taken, and a negative number when an attempt begins anew.
        """
        source = await source_of(content)
        body = ReplayableBody(source.pieces())
        request = PutRequest(
            name,
            size=source.size,
            content_type=content_type,
            metadata=metadata or {},
            checksums=source.checksums,
            preconditions=preconditions,
        )

        async def attempt(bucket: Bucket) -> ObjectInfo:
            pieces = source.pieces() if source.repeatable else body.chunks()
            if progress is None:
                return await self._cluster.objects.put(bucket, request, pieces)
            counted = CountedPieces(pieces, progress)
            try:
                return await self._cluster.objects.put(bucket, request, counted)
            except BaseException:
                progress(-counted.bytes)
                raise

        return await self._in_bucket(attempt, repeatable=lambda: source.repeatable or body.replayable)

    async def open(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> OpenObject:
        """The object, or `length` bytes from `offset` on; a negative offset means so many from the end.

        `async with await bucket.open(name) as body:` and then `async for piece in body.chunks()`.
        """
        wanted = range_request(offset, length)
        body = await self._in_bucket(
            lambda bucket: self._cluster.objects.open(bucket, name, range=wanted, preconditions=preconditions)
        )
        return OpenObject(body)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object or of a range of it, in memory."""
        async with await self.open(name, offset=offset, length=length) as body:
            return b"".join([piece async for piece in body.chunks()])

    async def parallel(
        self, name: str, *, workers: int = 4, range_bytes: int = RANGE_BYTES
    ) -> ParallelObject:
        """The current version, to be read by several workers: as a stream, or as a whole in shared memory.

        `async for piece in (await bucket.parallel(name)).chunks()` takes `workers` x `range_bytes` of memory.
        """

        async def looked_up(bucket: Bucket) -> ParallelObject:
            info = await self._cluster.objects.head(bucket, name)
            return ParallelObject(self._cluster.lane, bucket, info, workers=workers, range_bytes=range_bytes)

        return await self._in_bucket(looked_up)

    async def open_local(self, name: str) -> LocalObject:
        """The object's files themselves, where its target runs on this host as this user; close it.

        Raises OwnerUnreachable when the target is on another host or does not answer: `parallel` works then.
        """

        async def passed(bucket: Bucket) -> LocalObject:
            owner = self._cluster.cluster_map.target_of(bucket.id, name)
            if owner.host_id != host_id():
                raise OwnerUnreachable(f"target {owner.id} is not on this host", target=owner.id)
            path = descriptor_socket_of(Path(owner.unix_socket))
            return await asyncio.to_thread(open_local, path, bucket.id, name)

        return await self._in_bucket(passed)

    async def download(
        self, name: str, destination: Path, *, progress: Callable[[int], None] | None = None
    ) -> ObjectInfo:
        """Write an object to a file, which appears (or is replaced) only when all of it is there."""
        async with await self.open(name) as body:
            await write_file(destination, body.chunks(), progress=progress)
            return body.info

    async def download_parallel(
        self,
        name: str,
        destination: Path,
        *,
        workers: int = 4,
        range_bytes: int = RANGE_BYTES,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """As `download`, by several workers; goes on where an earlier call for the same file was killed.

        Begins anew when the object is overwritten meanwhile, and gives up (PreconditionFailed) when that goes on.
        """
        for attempt in ATTEMPTS_LEFT:
            moved = Moved(progress)
            try:
                reading = await self.parallel(name, workers=workers, range_bytes=range_bytes)
                return await download(reading, destination, bucket=str(self.reference), progress=moved.add)
            except PreconditionFailed:
                moved.add(-moved.bytes)
                if not attempt:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def head(self, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS) -> ObjectInfo:
        return await self._in_bucket(
            lambda bucket: self._cluster.objects.head(bucket, name, preconditions=preconditions)
        )

    async def delete(self, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS) -> ObjectInfo:
        """Remove an object and return what it was."""
        return await self._in_bucket(
            lambda bucket: self._cluster.objects.delete(bucket, name, preconditions=preconditions)
        )

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose names begin with `prefix`, in the order of their names' UTF-8 bytes."""
        while True:
            page = await self.list_page(ListQuery(prefix=prefix, start_after=start_after, limit=LIST_PAGE))
            for entry in page.entries:
                yield entry
            start_after = page.next_after
            if not start_after:
                return

    async def list_page(self, query: ListQuery) -> ListPage:
        """One page, with common prefixes if the query has a delimiter."""
        return await self._in_bucket(lambda bucket: self._cluster.objects.list(bucket, query))

    async def _in_bucket(
        self, action: Callable[[Bucket], Awaitable[T]], *, repeatable: Callable[[], bool] = lambda: True
    ) -> T:
        """Act on the bucket as remembered; if it is not that any more, ask for it and act once more."""
        bucket = await self._cluster.resolve(self.reference)
        try:
            return await action(bucket)
        except (BucketNotFound, StaleEpoch):
            current = await self._cluster.resolve(self.reference, fresh=True)
            if current == bucket or not repeatable():
                raise
        return await action(current)


class CountedPieces:
    """Pieces passed through, and their bytes told to `progress`."""

    def __init__(self, pieces: AsyncIterator[bytes], progress: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._progress = progress
        self.bytes = 0

    def __aiter__(self) -> CountedPieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._pieces)
        self.bytes += len(piece)
        self._progress(len(piece))
        return piece


class Moved:
    """Bytes told to `progress`, to be taken back when an attempt begins anew."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress = progress
        self.bytes = 0

    def add(self, count: int) -> None:
        self.bytes += count
        if self._progress:
            self._progress(count)


class OpenObject:
    """An object being read; closes with its `async with` block."""

    def __init__(self, body: ObjectBody) -> None:
        self._body = body
        self.info: ObjectInfo = body.info
        self.range: ByteRange | None = body.range

    def chunks(self) -> AsyncIterator[bytes]:
        """Pieces of at most 1 MiB, each verified. Read it once."""
        return self._body.chunks()

    async def close(self) -> None:
        await self._body.close()

    async def __aenter__(self) -> OpenObject:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def range_request(offset: int, length: int | None) -> RangeRequest | None:
    """ValueError for what is no range at all: that is a bug of the caller, not a condition of the cluster."""
    if length is not None and length < 1:
        raise ValueError(f"length is {length}; ask for at least one byte")
    if offset < 0:
        if length is not None:
            raise ValueError("a negative offset counts from the end, and then takes all that follows")
        return RangeRequest(None, -offset)
    if length is not None:
        return RangeRequest(offset, offset + length - 1)
    return RangeRequest(offset, None) if offset else None
