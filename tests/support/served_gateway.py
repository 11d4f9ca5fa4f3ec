"""A gateway's application on a real socket, and a client that speaks bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shoal_gateway.app import GatewayApplication
from shoal_gateway.guard import LocalGuard
from shoal_gateway.http_server import HttpServer, listening_socket
from shoal_gateway.parts import Parts

PUT = "PUT /v1/objects/b/{} HTTP/1.1\nHost: localhost\nContent-Length: {}\n\n"
GET = "GET /v1/objects/b/{} HTTP/1.1\nHost: localhost\n\n"


class Connection:
    """Speaks bytes to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: str, body: bytes = b"") -> tuple[str, bytes]:
        """Send a request whose lines end with a bare newline; returns the answer's head and body."""
        self.send(text, body)
        return await self.answer(is_head=text.startswith("HEAD"))

    def send(self, text: str, body: bytes = b"") -> None:
        self.writer.write(text.replace("\n", "\r\n").encode("latin-1") + body)

    async def rest(self) -> bytes:
        """Everything until the connection ends, one way or the other."""
        received = bytearray()
        try:
            while piece := await self.reader.read(1 << 20):
                received += piece
        except ConnectionResetError:
            pass
        return bytes(received)

    async def answer(self, *, is_head: bool = False) -> tuple[str, bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        length = int(lengths[0].partition(":")[2]) if lengths and not is_head else 0
        return head, await self.reader.readexactly(length)


class Gateway:
    """One served application."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)


@asynccontextmanager
async def served(
    parts: Parts,
    *,
    requests_max: int = 8,
    idle_timeout_seconds: float = 5,
    connections_max: int = 1000,
) -> AsyncIterator[Gateway]:
    listener = listening_socket("127.0.0.1:0")
    port = listener.getsockname()[1]
    application = GatewayApplication(
        parts, LocalGuard(port=port), requests_max=requests_max, idle_timeout_seconds=idle_timeout_seconds
    )
    started = asyncio.Event()
    server = HttpServer(application, listener, on_started=started.set, connections_max=connections_max)
    running = asyncio.create_task(server.run_until_stopped())
    await started.wait()
    try:
        yield Gateway(port)
    finally:
        server.stop()
        await running
