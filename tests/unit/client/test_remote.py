"""What can go wrong between two honest stores: damaged frames, streams cut short, peers that stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from crc32c import crc32c

from shoal.object.v1.object_pb2 import (
    Frame,
    GetObjectRequest,
    GetObjectResponse,
    Object,
    PutObjectRequest,
    PutObjectResponse,
)
from shoal_client.remote import RemoteObjectStore
from shoal_core.errors import DataCorrupt, DeadlineExceeded, OwnerUnreachable
from shoal_core.objects import FRAME_BYTES, PutRequest, RangeRequest
from shoal_core.rpc import Context
from support.clusters import BUCKET

RECORD = GetObjectResponse(object=Object(name="name", size=6, version="00" * 12))
Connect = Callable[["Sender | Receiver"], Awaitable[RemoteObjectStore]]
Methods = dict[str, "grpc.RpcMethodHandler[Any, Any]"]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A `RemoteObjectStore` to a server that misbehaves as the test says."""
    closing: list[Callable[[], Awaitable[None]]] = []

    async def connected(peer: Sender | Receiver) -> RemoteObjectStore:
        server = grpc.aio.server()
        handler = grpc.method_handlers_generic_handler("shoal.object.v1.ObjectService", peer.methods())
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        closing.extend([channel.close, lambda: server.stop(None)])
        return RemoteObjectStore(channel, peer="t1", idle_seconds=0.3)

    yield connected
    for close in closing:
        await close()


class Sender:
    """Answers GetObject with the messages given, then stalls if told to."""

    def __init__(self, *messages: GetObjectResponse, stall: bool = False) -> None:
        self._messages = messages
        self._stall = stall
        self.cancelled = asyncio.Event()

    async def get(self, request: GetObjectRequest, context: Context) -> AsyncIterator[GetObjectResponse]:
        try:
            for message in self._messages:
                yield message
            if self._stall:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def methods(self) -> Methods:
        deserialize, serialize = GetObjectRequest.FromString, GetObjectResponse.SerializeToString
        return {"GetObject": grpc.unary_stream_rpc_method_handler(self.get, deserialize, serialize)}


def frame(offset: int, data: bytes, *, checksum: int | None = None) -> GetObjectResponse:
    checksum = crc32c(data) if checksum is None else checksum
    return GetObjectResponse(frame=Frame(offset=offset, data=data, crc32c=checksum))


async def read(store: RemoteObjectStore) -> bytes:
    body = await store.open(BUCKET, "name")
    try:
        return b"".join([piece async for piece in body.chunks()])
    finally:
        await body.close()


@pytest.mark.parametrize(
    "messages",
    [
        [RECORD, frame(0, b"abcdef", checksum=1)],
        [RECORD, frame(0, b"abc"), frame(4, b"ef")],
        [RECORD, frame(0, b"abc"), frame(0, b"abc")],
        [RECORD, frame(0, b"abc")],
        [RECORD, frame(0, b"abcdefg")],
        [RECORD],
        [frame(0, b"abcdef")],
        [],
    ],
    ids=["damaged", "gap", "twice", "short", "long", "nothing", "no-record", "empty"],
)
async def test_body_that_is_not_the_record_is_never_served(
    connect: Connect, messages: list[GetObjectResponse]
) -> None:
    store = await connect(Sender(*messages))
    with pytest.raises(DataCorrupt):
        await read(store)


async def test_peer_that_stalls_is_given_up(connect: Connect) -> None:
    sender = Sender(RECORD, frame(0, b"abc"), stall=True)
    with pytest.raises(DeadlineExceeded, match="t1 sent nothing"):
        await read(await connect(sender))
    await asyncio.wait_for(sender.cancelled.wait(), 5)


async def test_closing_a_body_early_ends_the_stream(connect: Connect) -> None:
    sender = Sender(RECORD, frame(0, b"abc"), stall=True)
    body = await (await connect(sender)).open(BUCKET, "name", range=RangeRequest(0, None))
    assert await anext(body.chunks()) == b"abc"
    await body.close()
    await asyncio.wait_for(sender.cancelled.wait(), 5)


async def test_peer_that_does_not_exist_is_unreachable() -> None:
    async with grpc.aio.insecure_channel("unix:/nonexistent/socket") as channel:
        store = RemoteObjectStore(channel, peer="t1")
        with pytest.raises(OwnerUnreachable, match="t1"):
            await store.head(BUCKET, "name")
        with pytest.raises(OwnerUnreachable, match="t1"):
            await read(store)


class Receiver:
    """Reads an upload to its end or until it breaks, keeping what arrived."""

    def __init__(self, *, read: bool = True) -> None:
        self._read = read
        self.messages: list[str | None] = []
        self.ended = asyncio.Event()

    async def put(self, requests: AsyncIterator[PutObjectRequest], context: Context) -> PutObjectResponse:
        try:
            if not self._read:
                await asyncio.Event().wait()
            async for request in requests:
                self.messages.append(request.WhichOneof("message"))
            return PutObjectResponse()
        finally:
            self.ended.set()

    def methods(self) -> Methods:
        deserialize, serialize = PutObjectRequest.FromString, PutObjectResponse.SerializeToString
        return {"PutObject": grpc.stream_unary_rpc_method_handler(self.put, deserialize, serialize)}


async def test_upload_whose_body_fails_is_broken_off_without_its_finish(connect: Connect) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * FRAME_BYTES
        raise OSError("disk gone")

    receiver = Receiver()
    store = await connect(receiver)
    with pytest.raises(OSError, match="disk gone"):
        await store.put(BUCKET, PutRequest("name"), failing())
    await asyncio.wait_for(receiver.ended.wait(), 5)
    assert "finish" not in receiver.messages


async def test_upload_is_not_read_ahead_of_a_slow_peer(connect: Connect) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * FRAME_BYTES

    store = await connect(Receiver(read=False))
    with pytest.raises(DeadlineExceeded, match="t1 took no data"):
        await store.put(BUCKET, PutRequest("name"), endless())
    assert taken < 20
