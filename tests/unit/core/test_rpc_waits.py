"""Waits for gRPC's operations: whoever is cancelled leaves them to end, and nothing of them stays in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from shoal_core.rpc_gate import write
from shoal_core.rpc_waits import to_its_end

MESSAGE = bytes(1 << 20)
METHOD = "/shoal.test/Stream"
CALLS = 150
GROWTH_BYTES_MAX = 48 << 20
"""Of 150 calls that each left a message behind it would be 150 MiB, on either side."""


async def test_a_result_and_an_error_come_through() -> None:
    async def failing() -> None:
        raise ValueError("inside")

    assert await to_its_end(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(ValueError, match="inside"):
        await to_its_end(failing())


async def test_the_operation_goes_on_when_its_waiter_is_cancelled() -> None:
    go_on, ended = asyncio.Event(), asyncio.Event()

    async def operation() -> None:
        await go_on.wait()
        ended.set()
        raise ValueError("which nobody hears")

    waiter = asyncio.create_task(to_its_end(operation()))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    go_on.set()
    async with asyncio.timeout(5):
        await ended.wait()


class Streaming(grpc.GenericRpcHandler):
    """Writes messages for as long as somebody takes them."""

    def service(self, _call: grpc.HandlerCallDetails) -> Any:
        async def stream(_request: bytes, context: Any) -> None:
            while True:
                await write(MESSAGE, context)

        return grpc.unary_stream_rpc_method_handler(stream)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Streaming(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def leave_half_way(channel: grpc.aio.Channel, turns: int) -> None:
    """Cancelled after some turns of the loop, while a message is on its way to it and from the server."""
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
    call = method(b"")

    async def read() -> None:
        while True:
            await to_its_end(call.read())

    reader = asyncio.create_task(read())
    for _ in range(turns):
        await asyncio.sleep(0)
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader
    call.cancel()


@pytest.mark.slow
async def test_calls_that_are_left_half_way_leave_no_message_in_memory(channel: grpc.aio.Channel) -> None:
    for turns in range(CALLS):
        await leave_half_way(channel, turns)
    before = resident_bytes()
    for turns in range(CALLS):
        await leave_half_way(channel, turns)
    assert resident_bytes() - before < GROWTH_BYTES_MAX
