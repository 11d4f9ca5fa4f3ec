"""Large bodies leave the parser's way: nothing else of HTTP may change by that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shoal_core.errors import OutOfSpace
from shoal_core.objects import Bucket, ObjectInfo, PutRequest
from shoal_gateway.large_body import LARGE_BYTES_MIN
from shoal_gateway.parts import Parts
from support.memory_store import MemoryObjectStore
from support.served_gateway import GET, PUT, Connection, Gateway, served

LARGE = os.urandom(3 << 20)
EXPECTING = PUT.format("o", len(LARGE)).replace("\n\n", "\nExpect: 100-continue\n\n")


@pytest.fixture
async def gateway(parts: Parts) -> AsyncIterator[Gateway]:
    async with served(parts) as running:
        yield running


async def assert_stored(connection: Connection, data: bytes) -> None:
    assert (await connection.ask(GET.format("o")))[1] == data


@pytest.mark.parametrize("size", [LARGE_BYTES_MIN - 1, LARGE_BYTES_MIN, LARGE_BYTES_MIN + 1, len(LARGE)])
async def test_large_bodies_follow_each_other_on_one_connection(gateway: Gateway, size: int) -> None:
    async with gateway.connection() as connection:
        for data in (LARGE[:size], LARGE[-size:]):
            assert " 200 " in (await connection.ask(PUT.format("o", size), data))[0]
            await assert_stored(connection, data)


async def test_requests_behind_a_large_body_in_the_same_packets_are_answered(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        connection.send(PUT.format("o", len(LARGE)), LARGE)
        connection.send(PUT.format("o", len(LARGE)), LARGE[::-1])
        connection.send(GET.format("o"))
        for _ in range(2):
            assert " 200 " in (await connection.answer())[0]
        assert (await connection.answer())[1] == LARGE[::-1]


async def test_a_large_body_behind_100_continue_is_stored(gateway: Gateway) -> None:
    async with gateway.connection() as connection:
        assert " 100 " in (await connection.ask(EXPECTING))[0]
        assert " 200 " in (await connection.ask("", LARGE))[0]
        await assert_stored(connection, LARGE)


async def test_a_large_body_that_stops_is_408_and_leaves_nothing(
    parts: Parts, store: MemoryObjectStore
) -> None:
    async with served(parts, idle_timeout_seconds=0.1) as gateway, gateway.connection() as connection:
        head, _ = await connection.ask(PUT.format("o", len(LARGE)), LARGE[:-1])
        assert " 408 " in head
        assert await connection.rest() == b""
    assert store.names == []


async def test_a_large_body_that_trickles_is_stored(parts: Parts) -> None:
    """Fewer bytes than the kernel is asked to wake us for, in each idle time."""
    async with served(parts, idle_timeout_seconds=0.2) as gateway, gateway.connection() as connection:
        connection.send(PUT.format("o", len(LARGE)), LARGE[:-400])
        for at in range(-400, -100, 100):
            await asyncio.sleep(0.12)
            connection.send("", LARGE[at : at + 100])
        connection.send("", LARGE[-100:])
        assert " 200 " in (await connection.answer())[0]
        await assert_stored(connection, LARGE)


async def test_a_client_that_goes_within_a_large_body_leaves_nothing(
    parts: Parts, store: MemoryObjectStore
) -> None:
    async with served(parts) as gateway, gateway.connection() as connection:
        connection.send(PUT.format("o", len(LARGE)), LARGE[:-1])
        connection.writer.write_eof()
        await connection.rest()
    assert store.names == []


class FullStore(MemoryObjectStore):
    """Finds out within the body that there is no room."""

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        async for _ in body:
            raise OutOfSpace("the disk is full")
        return await super().put(bucket, request, body)


async def test_the_rest_of_a_large_body_that_was_refused_is_overlooked(parts: Parts) -> None:
    async with served(replace(parts, objects=FullStore())) as gateway, gateway.connection() as connection:
        requests_within = GET.format("x").replace("\n", "\r\n").encode() * 100_000
        head, _ = await connection.ask(PUT.format("o", len(requests_within)), requests_within)
        assert " 507 " in head
        assert " 404 " in (await connection.ask(GET.format("o")))[0]
