"""The gateway on a real socket: what HTTP parsers, slow clients and cut connections do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from shoal_core.errors import ConfigurationError, DataCorrupt
from shoal_core.objects import Bucket
from shoal_gateway import http_protocol, http_server
from shoal_gateway.http_server import listening_socket
from shoal_gateway.parts import Parts
from shoal_gateway.rest import batch
from support.memory_store import MemoryBody, MemoryObjectStore
from support.served_gateway import GET, PUT, Connection, Gateway, served
from support.waiting import PATIENCE_SECONDS

HEALTH = "GET /v1/health HTTP/1.1\nHost: localhost\n\n"
BATCH = "GET /v1/ml/moss/b HTTP/1.1\nHost: localhost\nContent-Length: {}\n\n"
MANY = 4


@pytest.fixture
async def gateway(parts: Parts) -> AsyncIterator[Gateway]:
    async with served(parts) as running:
        yield running


async def test_requests_follow_each_other_on_one_connection(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        head, _ = await connection.ask(PUT.format("o", 5), b"hello")
        assert head.startswith("HTTP/1.1 200")
        assert (await connection.ask(GET.format("o")))[1] == b"hello"
        head, body = await connection.ask(GET.format("o").replace("GET", "HEAD"))
        assert ("content-length: 5" in head, body) == (True, b"")
        assert (await connection.ask(GET.format("o")))[1] == b"hello"


async def test_the_date_goes_on(gateway: Gateway) -> None:
    async with gateway.connection() as connection, asyncio.timeout(PATIENCE_SECONDS):
        dates: set[str] = set()
        while len(dates) < 2:
            head, _ = await connection.ask(HEALTH)
            dates.update(line for line in head.splitlines() if line.startswith("date: "))
            await asyncio.sleep(0.1)


async def test_blanks_after_a_value_are_not_of_it(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        head, _ = await connection.ask(PUT.format("o", "5 \t"), b"hello")
        assert head.startswith("HTTP/1.1 200")


async def test_a_refused_upload_does_not_break_the_connection(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        missing = PUT.format("o", 1_000_000).replace("/b/", "/other/")
        head, _ = await connection.ask(missing, b"x" * 1_000_000)
        assert head.startswith("HTTP/1.1 404")
        assert (await connection.ask(GET.format("none")))[0].startswith("HTTP/1.1 404")


async def test_an_upload_that_waits_for_100_is_told_to_go_on(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        connection.send(PUT.format("o", 5).replace("\n\n", "\nExpect: 100-continue\n\n"))
        assert (await connection.answer())[0].startswith("HTTP/1.1 100")
        connection.send("", b"hello")
        assert (await connection.answer())[0].startswith("HTTP/1.1 200")


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\nContent-Length: 6",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Bad Header: x",
        "X: a\n" * 200 + "Y: b",
    ],
)
async def test_ambiguous_or_broken_headers_are_400_and_close(gateway: Gateway, headers: str) -> None:
    async with gateway.connection() as connection:
        head, _ = await connection.ask(
            f"PUT /v1/objects/b/o HTTP/1.1\nHost: localhost\n{headers}\n\n", b"hello"
        )
        assert head.startswith("HTTP/1.1 400")
        assert await connection.reader.read() == b""


async def test_endless_headers_are_cut_off(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        connection.send("GET /v1/health HTTP/1.1\nHost: localhost\nX: ")
        connection.send("", b"y" * (1 << 20))
        # The answer is lost when the rest of the headers is still on its way; the end of the connection is not.
        assert (await connection.rest())[:13] in (b"HTTP/1.1 431 ", b"")


async def test_headers_that_are_not_complete_in_time_are_408_and_close(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS_MAX", 0.05)
    async with gateway.connection() as connection:
        connection.send("GET /v1/health HTTP/1.1\nHost: loc")
        assert (await connection.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_cut_off(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS_MAX", 0.05)
    async with gateway.connection() as connection:
        assert await connection.rest() == b""


async def test_a_body_that_stops_is_408_and_leaves_nothing(parts: Parts, store: MemoryObjectStore) -> None:
    async with served(parts, idle_timeout_seconds=0.05) as gateway, gateway.connection() as connection:
        head, _ = await connection.ask(PUT.format("o", 10), b"hel")
        assert head.startswith("HTTP/1.1 408")
        assert await connection.reader.read() == b""
    assert store.names == []


async def test_a_body_of_a_byte_now_and_then_is_408_and_leaves_nothing(
    parts: Parts, store: MemoryObjectStore
) -> None:
    async with served(parts, idle_timeout_seconds=0.2) as gateway, gateway.connection() as connection:
        connection.send(PUT.format("o", 1_000_000))
        dripping = asyncio.create_task(drip(connection))
        head, body = await connection.answer()
        dripping.cancel()
        assert (head.startswith("HTTP/1.1 408"), b"bytes of the body came in" in body) == (True, True)
    assert store.names == []


async def drip(connection: Connection) -> None:
    """A byte now and then, for ever."""
    while True:
        connection.send("", b"x")
        await asyncio.sleep(0.01)


async def test_what_an_answer_leaves_unsent_still_counts_as_a_request(parts: Parts) -> None:
    size = 32 << 20
    async with (
        served(parts, requests_max=1, idle_timeout_seconds=60) as gateway,
        gateway.connection() as slow,
        gateway.connection() as second,
    ):
        assert (await slow.ask(PUT.format("o", size), bytes(size)))[0].startswith("HTTP/1.1 200")
        slow.send(GET.format("o"))
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        head = await second.ask(GET.format("o").replace("GET", "HEAD"))
        while " 503 " not in head[0]:
            head = await second.ask(GET.format("o").replace("GET", "HEAD"))
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await slow.answer())[1]) == size
        await eventually_served(second)


async def eventually_served(connection: Connection) -> None:
    async with asyncio.timeout(15):
        while " 503 " in (await connection.ask(GET.format("o").replace("GET", "HEAD")))[0]:
            pass


async def test_a_connection_that_has_been_idle_for_long_is_closed(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 0.05)
    async with served(parts) as gateway, gateway.connection() as connection:
        assert " 200 " in (await connection.ask(HEALTH))[0]
        assert await connection.rest() == b""


async def test_one_batch_too_many_is_429_with_retry_after(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "BATCHES_MAX", 0)
    message = b'{"in":[{"objname":"o"}],"mime":".tar"}'
    async with served(parts) as gateway, gateway.connection() as connection:
        head, _ = await connection.ask(BATCH.format(len(message)), message)
        assert (" 429 " in head, "retry-after: 1" in head) == (True, True)


async def test_one_connection_too_many_closes_the_one_that_was_idle_longest(parts: Parts) -> None:
    async with served(parts, connections_max=MANY) as gateway, AsyncExitStack() as stack:
        first, *others = [await stack.enter_async_context(gateway.connection()) for _ in range(MANY)]
        for connection in (first, *others):
            assert (await connection.ask(HEALTH))[0].startswith("HTTP/1.1 200")
        newest = await stack.enter_async_context(gateway.connection())
        assert (await newest.ask(HEALTH))[0].startswith("HTTP/1.1 200")
        assert await first.rest() == b""
        assert (await others[-1].ask(HEALTH))[0].startswith("HTTP/1.1 200")


async def test_a_newcomer_is_told_to_come_later_when_all_connections_are_busy(parts: Parts) -> None:
    busy = PUT.format("o", 10).replace("\n\n", "\nExpect: 100-continue\n\n")
    async with (
        served(parts, connections_max=MANY, requests_max=MANY) as gateway,
        AsyncExitStack() as stack,
    ):
        connections = [await stack.enter_async_context(gateway.connection()) for _ in range(MANY)]
        for connection in connections:
            connection.send(busy)
            assert " 100 " in (await connection.answer())[0]
        newcomer = await stack.enter_async_context(gateway.connection())
        head, body = await newcomer.ask(GET.format("o"))
        expected = (" 503 " in head, "retry-after: 1" in head, "connection: close" in head)
        assert (expected, b"connections, all busy" in body) == ((True, True, True), True)
        assert await newcomer.rest() == b""
        connections[0].send("", b"0123456789")
        assert (await connections[0].answer())[0].startswith("HTTP/1.1 200")
        again = await stack.enter_async_context(gateway.connection())
        assert (await again.ask(GET.format("o")))[1] == b"0123456789"


async def test_health_is_answered_by_a_worker_that_refuses_all_else(parts: Parts) -> None:
    async with served(parts, requests_max=0) as gateway, gateway.connection() as connection:
        assert " 503 " in (await connection.ask(GET.format("o")))[0]
        assert (await connection.ask(HEALTH))[0].startswith("HTTP/1.1 200")


async def test_a_client_that_takes_nothing_is_cut_off(parts: Parts) -> None:
    async with served(parts, idle_timeout_seconds=0.1) as gateway, gateway.connection() as connection:
        size = 32 << 20
        assert (await connection.ask(PUT.format("o", size), bytes(size)))[0].startswith("HTTP/1.1 200")
        connection.send(GET.format("o"))
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.5)
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await connection.rest()) < size


async def test_too_many_requests_are_503_with_retry_after(parts: Parts) -> None:
    async with (
        served(parts, requests_max=1) as gateway,
        gateway.connection() as waiting,
        gateway.connection() as second,
    ):
        waiting.send(PUT.format("o", 10).replace("\n\n", "\nExpect: 100-continue\n\n"))
        assert " 100 " in (await waiting.answer())[0]
        head, body = await second.ask(GET.format("o"))
        assert (" 503 " in head, "retry-after: 1" in head, b"already" in body) == (True, True, True)
        waiting.send("", b"halfsecond")
        assert (await waiting.answer())[0].startswith("HTTP/1.1 200")
        assert (await second.ask(GET.format("o")))[1] == b"halfsecond"


class RottenStore(MemoryObjectStore):
    """The second piece of every object fails its checksum."""

    async def open(self, bucket: Bucket, name: str, **wishes: Any) -> RottenBody:
        body = await super().open(bucket, name, **wishes)
        return RottenBody(body.info, body.range, body.data)


class RottenBody(MemoryBody):
    async def chunks(self) -> AsyncIterator[bytes]:
        async for piece in super().chunks():
            yield piece
            raise DataCorrupt("block 2 does not match its checksum")


async def test_a_body_that_fails_half_way_cuts_the_connection(parts: Parts) -> None:
    rotten = replace(parts, objects=RottenStore())
    async with served(rotten) as gateway, gateway.connection() as connection:
        size = 3 << 20
        await connection.ask(PUT.format("o", size), bytes(size))
        connection.send(GET.format("o"))
        answer = await connection.rest()
        assert b" 200 " in answer
        assert len(answer) < size


async def test_workers_share_a_port_and_others_do_not(gateway: Gateway) -> None:
    listening_socket(f"127.0.0.1:{gateway.port}").close()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "example.com:80", "127.0.0.1:x", "127.0.0.1", "10.1.2.3:0"])
def test_addresses_beyond_loopback_are_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        listening_socket(address)


def test_told_so_it_listens_beyond_loopback() -> None:
    # Not among the names of loopback, but all the same an address of it: tests stay on this host.
    with pytest.raises(ConfigurationError, match="--insecure-anonymous"):
        listening_socket("127.1:0")
    listening_socket("127.1:0", insecure_anonymous=True).close()
