"""Batches over gRPC: the stream of one owner, and a batch's items spread over the streams of all owners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import grpc.aio
from crc32c import crc32c

from shoal.batch.v1 import batch_pb2
from shoal.batch.v1.batch_pb2 import (
    BatchBucket,
    BatchEntry,
    CheckBatchRequest,
    ReadBatchRequest,
    ReadBatchResponse,
)
from shoal.batch.v1.batch_pb2_grpc import BatchServiceStub
from shoal.object.v1.object_pb2 import Routing
from shoal_archive.batch import Entry, Item
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.error_table import from_status
from shoal_core.errors import DataCorrupt, DeadlineExceeded, ObjectNotFound, ShoalError
from shoal_core.objects import Bucket, BucketReference
from shoal_core.rpc import call, stream_metadata, translate_errors
from shoal_core.rpc_waits import to_its_end

IDLE_SECONDS_MAX = 60.0
CALL_ITEMS_MAX = 4000
"""Items of one call; a longer batch is several calls, one after the other."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What is to be read: an object, a member of an archive, or a range of either."""

    bucket: str | BucketReference
    name: str
    member: str = ""
    start: int = 0
    length: int = 0
    """Bytes, all of which must exist; 0: all (and `start` is 0); -1: all from `start` on."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The bytes of one item, or the error that stands in their place."""

    data: bytes
    error: ShoalError | None = None


BatchCall = grpc.aio.UnaryStreamCall[ReadBatchRequest, ReadBatchResponse]


class OwnerStream:
    """Items of one peer, in order. What is large is read when its turn comes, and holds up what follows."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        items: Sequence[Item],
        *,
        peer: str,
        epoch: int | None,
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        """`epoch` is the placement's by which the peer was chosen; None when the peer is a proxy."""
        self._stub = BatchServiceStub(channel)
        self._requests = [request_of(some, epoch) for some in in_calls(items)]
        self._peer = peer
        self._epoch = epoch
        self._idle_seconds = idle_seconds
        self._call: BatchCall | None = None
        self._waiting: list[BatchEntry] = []
        self._turn = asyncio.Lock()
        self._failed = False

    async def next(self) -> Entry | None:
        """The next item; None once the stream has failed, as it does when the map is an old one."""
        await self._turn.acquire()
        large = False
        try:
            if self._failed:
                return None
            part = await self._next_part()
            if part.HasField("error"):
                return Entry.failed(from_status(part.error))
            data = checked(part, self._peer)
            if not part.more:
                return Entry(part.size, data)
            large = True
            return Entry(part.size, body=_Rest(self, data))
        except (ShoalError, StopAsyncIteration):
            self.fail()
            return None
        except asyncio.CancelledError:
            # The read goes on unseen, and a call takes one at a time: nobody may read after it.
            self.fail()
            raise
        finally:
            if not large:
                self._turn.release()

    async def holds(self, items: Sequence[Item]) -> bool:
        """Whether the peer says that all these objects exist; False when it cannot tell. Raises ObjectNotFound."""
        for some in in_calls(items):
            read = request_of(some, self._epoch)
            request = CheckBatchRequest(buckets=read.buckets, items=read.items)
            try:
                await call(
                    self._stub.CheckBatch,
                    request,
                    timeout_seconds=self._idle_seconds,
                    idempotent=True,
                    peer=self._peer,
                )
            except ObjectNotFound:
                raise
            except ShoalError:
                return False
        return True

    async def rest(self) -> AsyncIterator[bytes]:
        """Of a large item."""
        more = True
        while more:
            part = await self._next_part()
            more = part.more
            yield checked(part, self._peer)

    def release(self, *, whole: bool) -> None:
        """After a large item. One that was not read to its end leaves nothing to go on from."""
        if not whole:
            self.fail()
        self._turn.release()

    def fail(self) -> None:
        self._failed = True
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()

    async def _next_part(self) -> BatchEntry:
        while not self._waiting:
            if self._call is None:
                if not self._requests:
                    raise DataCorrupt(f"{self._peer} sent fewer items than were asked for")
                self._call = self._stub.ReadBatch(self._requests.pop(0), metadata=stream_metadata())
            message = await self._next_message(self._call)
            if message is None:
                self._call = None
            else:
                self._waiting = list(reversed(message.entries))
        return self._waiting.pop()

    async def _next_message(self, call: BatchCall) -> ReadBatchResponse | None:
        with translate_errors(self._peer):
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await to_its_end(call.read())
            except TimeoutError as error:
                raise DeadlineExceeded(
                    f"{self._peer} sent nothing for {self._idle_seconds:g} seconds"
                ) from error
        return message if isinstance(message, ReadBatchResponse) else None


class _Rest:
    """The body of a large item; the stream stands still until it is closed."""

    def __init__(self, stream: OwnerStream, first: bytes) -> None:
        self._stream = stream
        self._first = first
        self._whole = False
        self._closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._first
        async for data in self._stream.rest():
            yield data
        self._whole = True

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.release(whole=self._whole)


class OwnersStreams:
    """`shoal_archive.batch.Streams`: each item comes from the stream of the target that owns it."""

    def __init__(self, items: Sequence[Item], streams: Sequence[OwnerStream | None]) -> None:
        """For each item the stream that has it; None for items that the caller reads itself."""
        self._items = items
        self._streams = streams

    async def entry(self, number: int) -> Entry | None:
        stream = self._streams[number]
        return None if stream is None else await stream.next()

    async def require(self, numbers: Sequence[int]) -> Sequence[int]:
        """All owners at once."""
        shares: dict[OwnerStream, list[int]] = {}
        for number in numbers:
            if (stream := self._streams[number]) is not None:
                shares.setdefault(stream, []).append(number)
        answers = await asyncio.gather(
            *(stream.holds([self._items[number] for number in share]) for stream, share in shares.items())
        )
        known = {stream for stream, answer in zip(shares, answers, strict=True) if answer}
        return [number for number in numbers if self._streams[number] not in known]

    async def close(self) -> None:
        for stream in {stream for stream in self._streams if stream is not None}:
            stream.fail()


def streams_of(
    items: Sequence[Item], cluster_map: ClusterMap, channel_of: Callable[[Member], grpc.aio.Channel | None]
) -> OwnersStreams | None:
    """One stream to each target that owns some of the items and that `channel_of` gives a channel to."""
    channels = {target.id: channel_of(target) for target in cluster_map.targets}
    if not any(channels.values()):
        return None
    owners = [cluster_map.target_of(item.bucket.id, item.name).id for item in items]
    shares: dict[str, list[Item]] = {}
    for item, owner in zip(items, owners, strict=True):
        shares.setdefault(owner, []).append(item)
    epoch = cluster_map.placement_epoch
    streams = {
        owner: OwnerStream(channel, share, peer=owner, epoch=epoch)
        for owner, share in shares.items()
        if (channel := channels[owner]) is not None
    }
    return OwnersStreams(items, [streams.get(owner) for owner in owners])


def one_stream(items: Sequence[Item], channel: grpc.aio.Channel, *, peer: str) -> OwnersStreams:
    """All through a proxy."""
    return OwnersStreams(items, [OwnerStream(channel, items, peer=peer, epoch=None)] * len(items))


async def result_of(entry: Entry) -> BatchResult:
    """Large items too are read to their end: memory is that of the largest."""
    if entry.body is None:
        return BatchResult(bytes(entry.data), entry.error)
    return BatchResult(b"".join([piece async for piece in entry.chunks("an item of the batch")]))


def in_calls(items: Sequence[Item]) -> list[Sequence[Item]]:
    """As many as one call may have."""
    return [items[begin : begin + CALL_ITEMS_MAX] for begin in range(0, len(items), CALL_ITEMS_MAX)]


def request_of(items: Sequence[Item], epoch: int | None) -> ReadBatchRequest:
    buckets = {item.bucket.id: item.bucket for item in items}
    numbers = {bucket_id: number for number, bucket_id in enumerate(buckets)}
    return ReadBatchRequest(
        buckets=[batch_bucket(bucket, epoch) for bucket in buckets.values()],
        items=[
            batch_pb2.BatchItem(
                bucket=numbers[item.bucket.id],
                name=item.name,
                member=item.member,
                start=item.start,
                length=item.length,
            )
            for item in items
        ],
        continue_on_error=True,
    )


def batch_bucket(bucket: Bucket, epoch: int | None) -> BatchBucket:
    reference = messages.bucket_reference_to_message(bucket.reference)
    if epoch is None:
        return BatchBucket(bucket=reference)
    routing = Routing(placement_epoch=epoch, bucket_id=bucket.id, bucket_generation=bucket.generation)
    return BatchBucket(bucket=reference, routing=routing)


def checked(part: BatchEntry, peer: str) -> bytes:
    if crc32c(part.data) != part.crc32c:
        raise DataCorrupt(
            f"an item of the batch was damaged on the way from {peer}: CRC32C differs; read it again"
        )
    return part.data
