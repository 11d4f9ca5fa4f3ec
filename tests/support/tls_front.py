"""TLS in front of the gateway, as in production: it decrypts, and passes every byte on as it is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from shoal_core.certificates import ClusterAuthority

BUFFER_BYTES = 64 * 1024


@contextmanager
def tls_front(endpoint: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The address to use in place of `endpoint` while the block runs, and the authority that vouches for it."""
    authority = ClusterAuthority.create(folder / "authority", "front")
    files = authority.issue(folder / "front", "gateway", "front")
    assert files.certificate is not None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="tls-front")
    thread.start()
    front = Front(endpoint, context)
    try:
        port = asyncio.run_coroutine_threadsafe(front.start(), loop).result(10)
        yield f"https://127.0.0.1:{port}", files.ca
    finally:
        asyncio.run_coroutine_threadsafe(front.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Front:
    def __init__(self, endpoint: str, context: ssl.SSLContext) -> None:
        place = urlsplit(endpoint)
        self._target = (place.hostname or "", place.port or 0)
        self._context = context
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._context, ssl_shutdown_timeout=1
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._relay(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side ends: neither HTTP clients nor our server go on with half a connection."""
        inner_reader, inner_writer = await asyncio.open_connection(*self._target)
        pumps = [
            asyncio.create_task(pump(reader, inner_writer)),
            asyncio.create_task(pump(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Closed before anything is awaited: `stop` cancels tasks that are here already, too.
            for each in (inner_writer, writer):
                each.close()
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in (inner_writer, writer):
                with suppress(OSError):
                    await each.wait_closed()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(BUFFER_BYTES):
        writer.write(data)
        await writer.drain()
