"""`BatchServicer`: the gRPC service of batches over a `BatchReader`; targets and proxies serve the same one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from crc32c import crc32c

from shoal.batch.v1 import batch_pb2, batch_pb2_grpc
from shoal_archive.batch import BatchReader, Entry, Item
from shoal_core.access import Permission
from shoal_core.bucket_admission import Admission, BucketAdmission, BucketResolver
from shoal_core.error_table import to_status
from shoal_core.errors import InvalidArgument
from shoal_core.freed_memory import FreedMemory
from shoal_core.names import checked_object_name
from shoal_core.objects import FRAME_BYTES
from shoal_core.rpc import Context

ITEMS_MAX = 10_000
BUCKETS_MAX = 1000
MESSAGE_DATA_BYTES = 512 << 10
"""Entries are put into one message until they are so many bytes."""


class BatchServicer(batch_pb2_grpc.BatchServiceServicer):
    """Batches of `reader`. `admit` refuses callers that routed by an old view (targets only)."""

    def __init__(
        self, reader: BatchReader, buckets: BucketResolver, *, admit: Admission | None = None
    ) -> None:
        self._reader = reader
        self._memory = FreedMemory()
        self._admission = BucketAdmission(buckets, admit=admit)

    async def ReadBatch(
        self, request: batch_pb2.ReadBatchRequest, context: Context
    ) -> AsyncIterator[batch_pb2.ReadBatchResponse]:
        with self._memory.in_use():
            async with aclosing(self._responses(request, await self._items(request))) as responses:
                async for response in responses:
                    yield response

    async def CheckBatch(
        self, request: batch_pb2.CheckBatchRequest, context: Context
    ) -> batch_pb2.CheckBatchResponse:
        await self._reader.begin(await self._items(request)).require()
        return batch_pb2.CheckBatchResponse()

    async def _responses(
        self, request: batch_pb2.ReadBatchRequest, items: Sequence[Item]
    ) -> AsyncGenerator[batch_pb2.ReadBatchResponse, None]:
        response, gathered = batch_pb2.ReadBatchResponse(), 0
        async with aclosing(self._reader.begin(items).entries()) as groups:
            async for entries in groups:
                for entry in entries:
                    if entry.error is not None and not request.continue_on_error:
                        raise entry.error
                    async for part in parts_of(entry):
                        response.entries.append(part)
                        gathered += len(part.data)
                        if gathered >= MESSAGE_DATA_BYTES:
                            yield response
                            response, gathered = batch_pb2.ReadBatchResponse(), 0
        if response.entries:
            yield response

    async def _items(
        self, request: batch_pb2.ReadBatchRequest | batch_pb2.CheckBatchRequest
    ) -> Sequence[Item]:
        if not 0 < len(request.items) <= ITEMS_MAX or len(request.buckets) > BUCKETS_MAX:
            raise InvalidArgument(
                f"a batch has 1 to {ITEMS_MAX} items of at most {BUCKETS_MAX} buckets, this one {len(request.items)} "
                f"of {len(request.buckets)}"
            )
        buckets = [
            await self._admission.bucket(each.bucket, each.routing, Permission.GET)
            for each in request.buckets
        ]
        for item in request.items:
            if not 0 <= item.bucket < len(buckets):
                raise InvalidArgument(f"item {item.name!r} is of bucket {item.bucket}, which is not named")
        return [
            Item(buckets[item.bucket], checked_object_name(item.name), item.member, item.start, item.length)
            for item in request.items
        ]


async def parts_of(entry: Entry) -> AsyncIterator[batch_pb2.BatchEntry]:
    """One message of a small item, several of a large one."""
    if entry.error is not None:
        yield batch_pb2.BatchEntry(error=to_status(entry.error))
    elif entry.body is None:
        data = bytes(entry.data)
        yield batch_pb2.BatchEntry(size=entry.size, data=data, crc32c=crc32c(data))
    else:
        left = entry.size
        async for data in entry.chunks("an item of the batch"):
            for begin in range(0, len(data), FRAME_BYTES):
                frame = data[begin : begin + FRAME_BYTES]
                left -= len(frame)
                yield batch_pb2.BatchEntry(size=entry.size, data=frame, crc32c=crc32c(frame), more=left > 0)
