"""Fills a bucket over many connections at once, as fast as one Python process can ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from shoal_bench.load import BenchFailed

CONNECTIONS = 16


async def fill(endpoint: str, paths: Sequence[str], body: bytes) -> None:
    """PUT the body to every presigned path. Raises BenchFailed."""
    left = iter(paths)
    await asyncio.gather(*(fill_from(endpoint, left, body) for _ in range(CONNECTIONS)))


async def fill_from(endpoint: str, left: object, body: bytes) -> None:
    place = urlsplit(endpoint)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f" HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert hasattr(left, "__next__")
    for path in left:  # type: ignore[attr-defined]
        writer.write(b"PUT " + path.encode() + head + body)
        await writer.drain()
        await check_answer(reader)
    writer.close()


async def check_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answer = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchFailed(f"a PUT was answered {head[:60]!r} {answer[:300]!r}")
