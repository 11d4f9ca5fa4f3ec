"""Uploads that the server ends early: its own reason arrives, whatever grpc.aio puts in the place of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn

import grpc
import grpc.aio
import pytest

from shoal_client.upload import Upload
from shoal_core.errors import DeadlineExceeded, OwnerUnreachable

FRAME = b"x" * (1 << 20)

Handler = Callable[[AsyncIterator[bytes], "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]
Start = Callable[[Handler], Awaitable["grpc.aio.StreamUnaryMultiCallable[bytes, bytes]"]]


@pytest.fixture
async def serve() -> AsyncIterator[Start]:
    closing: list[Callable[[], Awaitable[None]]] = []

    async def start(handler: Handler) -> grpc.aio.StreamUnaryMultiCallable[bytes, bytes]:
        server = grpc.aio.server()
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Put": grpc.stream_unary_rpc_method_handler(handler)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        closing.extend([channel.close, lambda: server.stop(None)])
        return channel.stream_unary("/test/Put")

    yield start
    for close in closing:
        await close()


async def test_reason_of_early_refusal_arrives_however_much_was_being_written(serve: Start) -> None:
    async def refuse(
        messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> NoReturn:
        for _ in range(int(await anext(aiter(messages)))):
            await anext(aiter(messages))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no room")

    method = await serve(refuse)
    for frames_read in [0, 1, 2, 5] * 10:
        upload = Upload(method(), peer="t1", idle_seconds=10)
        with pytest.raises(OwnerUnreachable, match="no room"):
            await send(upload, [str(frames_read).encode(), *[FRAME] * 20])


async def test_server_that_takes_nothing_more_is_given_up(serve: Start) -> None:
    released = asyncio.Event()

    async def stall(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await released.wait()
        return b""

    upload = Upload((await serve(stall))(), peer="t1", idle_seconds=0.2)
    with pytest.raises(DeadlineExceeded, match="t1 took no data"):
        await send(upload, [FRAME] * 100)
    released.set()


async def test_peer_that_does_not_exist_is_unreachable() -> None:
    async with grpc.aio.insecure_channel("unix:/nonexistent/socket") as channel:
        method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary("/test/Put")
        upload = Upload(method(), peer="t1", idle_seconds=10)
        with pytest.raises(OwnerUnreachable, match="t1"):
            await send(upload, [FRAME])


async def send(upload: Upload[bytes, bytes], messages: list[bytes]) -> bytes:
    for message in messages:
        await upload.write(message)
    return await upload.finish()
