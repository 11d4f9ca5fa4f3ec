"""One owner's stream of a batch, when who reads from it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from shoal.batch.v1.batch_pb2 import (
    BatchEntry,
    CheckBatchRequest,
    CheckBatchResponse,
    ReadBatchRequest,
    ReadBatchResponse,
)
from shoal.batch.v1.batch_pb2_grpc import BatchServiceServicer, add_BatchServiceServicer_to_server
from shoal_archive.batch import Item
from shoal_client.batch import OwnerStream
from shoal_core.rpc import Context
from support.clusters import BUCKET

ITEM = Item(BUCKET, "o")


class Owner(BatchServiceServicer):
    """Sends one item, and then nothing until the caller goes."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def ReadBatch(
        self, request: ReadBatchRequest, context: Context
    ) -> AsyncIterator[ReadBatchResponse]:
        try:
            yield ReadBatchResponse(entries=[BatchEntry(size=0)])
            await asyncio.Event().wait()
        finally:
            self.left.set()

    async def CheckBatch(self, request: CheckBatchRequest, context: Context) -> CheckBatchResponse:
        return CheckBatchResponse()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def stream(owner: Owner) -> AsyncIterator[OwnerStream]:
    server = grpc.aio.server()
    add_BatchServiceServicer_to_server(owner, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield OwnerStream(channel, [ITEM] * 3, peer="t1", epoch=None)
    await server.stop(0)


async def test_nobody_reads_on_after_a_read_that_was_cancelled(stream: OwnerStream, owner: Owner) -> None:
    assert await stream.next() is not None
    reading, waiting = (asyncio.create_task(stream.next()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    assert await waiting is None
    async with asyncio.timeout(5):
        await owner.left.wait()
