"""Server streams over HTTP: messages as one JSON array that grows, or `HttpBody`s as the bytes that they hold.

Half an answer is never ended as if it were whole: a stream that fails after its beginning raises, and the
application cuts the connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from shoal_core.errors import DeadlineExceeded
from shoal_core.rpc import stream_metadata, translate_errors
from shoal_core.rpc_waits import look_at
from shoal_gateway.exchange import Exchange
from shoal_gateway.parts import ProxyChannel
from shoal_gateway.transcode.answers import JSON, as_json, media_type_of
from shoal_gateway.transcode.limits import JsonLimits
from shoal_gateway.transcode.rpcs import Rpc

if TYPE_CHECKING:
    Stream: TypeAlias = grpc.aio.UnaryStreamCall[Message, Message]


async def relay_body(
    rpc: Rpc, request: Message, exchange: Exchange, *, proxy: ProxyChannel, limits: JsonLimits
) -> None:
    """The first message tells the media type; nothing goes out before it is here."""
    async with aclosing(messages(rpc, request, exchange, proxy=proxy, limits=limits)) as bodies:
        # A stream without a message is announced as Envoy does it; no service of ours sends one.
        first = await anext(bodies, HttpBody())
        assert isinstance(first, HttpBody)
        await exchange.start(200, [media_type_of(first)])
        await exchange.write(first.data, more=True)
        async for body in bodies:
            assert isinstance(body, HttpBody)
            await exchange.write(body.data, more=True)
    await exchange.write(b"", more=False)


async def relay_list(
    rpc: Rpc, request: Message, exchange: Exchange, *, proxy: ProxyChannel, limits: JsonLimits
) -> None:
    """`[`, then each message as it comes, then `]`."""
    lead = b"["
    async with aclosing(messages(rpc, request, exchange, proxy=proxy, limits=limits)) as produced:
        async for message in produced:
            if not exchange.started:
                await exchange.start(200, [JSON])
            await exchange.write(lead + as_json(message), more=True)
            lead = b","
    if not exchange.started:
        await exchange.start(200, [JSON])
        await exchange.write(b"[", more=True)
    await exchange.write(b"]", more=False)


async def messages(
    rpc: Rpc, request: Message, exchange: Exchange, *, proxy: ProxyChannel, limits: JsonLimits
) -> AsyncGenerator[Message, None]:
    """What the service sends, until it ends, the client has gone, or a list has grown for its time."""
    channel, peer = proxy()
    method: grpc.aio.UnaryStreamMultiCallable[Message, Message] = channel.unary_stream(
        rpc.method,
        request_serializer=rpc.request.SerializeToString,
        response_deserializer=rpc.response.FromString,
    )
    stream = method(request, metadata=stream_metadata())
    gone = asyncio.ensure_future(exchange.wait_disconnected())
    ends = time.monotonic() + limits.list_seconds
    seconds, began = limits.call_seconds, False
    try:
        while (message := await next_message(stream, gone, seconds=seconds, peer=peer)) is not None:
            yield message
            began = True
            seconds = limits.pause_seconds if rpc.answers_body else ends - time.monotonic()
    except TimeoutError as error:
        if rpc.answers_body or not began:
            raise DeadlineExceeded(f"{peer} sent nothing for {seconds:g} s: repeat the request") from error
    finally:
        gone.cancel()
        stream.cancel()


async def next_message(
    stream: Stream, gone: asyncio.Future[None], *, seconds: float, peer: str
) -> Message | None:
    """None at the end of the stream, and when the client has gone. Raises TimeoutError and ShoalErrors."""
    reading = asyncio.ensure_future(stream.read())
    try:
        both: set[asyncio.Future[Any]] = {reading, gone}
        await asyncio.wait(both, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            if gone.done():
                return None
            raise TimeoutError
        with translate_errors(peer):
            message = reading.result()
    finally:
        # Never cancelled: it ends with the stream.
        reading.add_done_callback(look_at)
    return message if isinstance(message, Message) else None
