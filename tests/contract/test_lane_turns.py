"""Requests that the fast lane answers at the end of a turn: none is lost when the connection ends in that turn, and
none overtakes another of its connection."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from shoal_core.objects import BucketProperties, BucketReference
from shoal_gateway.lane.turn import Turn
from support.engines import put, running_engine
from support.lane_doors import OK, Door, connection, door, get_of, outcome, parts_of, put_of
from support.memory_buckets import MemoryBuckets

LARGE = 16 << 20
"""More than a socket takes at once."""
CONNECTIONS, BURSTS = 8, 40
"""As many as the door serves at once."""


@contextmanager
def endless(turn: Turn) -> Iterator[asyncio.Event]:
    """A turn that ends with the block at the earliest. The event says that something came in it."""
    came, run = asyncio.Event(), turn.run
    turn.run = came.set  # type: ignore[method-assign]
    try:
        yield came
    finally:
        turn.run = run  # type: ignore[method-assign]


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Door]:
    buckets = MemoryBuckets()
    bucket = await buckets.create(BucketReference("lane"), BucketProperties())
    async with (
        running_engine(tmp_path) as engine,
        door(parts_of(engine.store, buckets), fast_lane=True) as served,
    ):
        for name in ("a", "b"):
            await put(engine, name, name.encode() * 1000, bucket=bucket)
        await put(engine, "large", b"l" * LARGE, bucket=bucket)
        yield served


async def test_a_client_that_says_it_will_not_send_more_gets_its_answer(lane: Door) -> None:
    async with connection(lane) as (reader, writer):
        writer.write(get_of("a"))
        writer.write_eof()
        assert (await outcome(reader, is_head=False)).body == b"a" * 1000
        assert await reader.read() == b""
    assert lane.lane.taken == 1


async def test_many_connections_of_one_turn_get_each_its_own_answer(lane: Door) -> None:
    async def ask(name: str) -> bytes:
        async with connection(lane) as (reader, writer):
            writer.write(get_of(name))
            return (await outcome(reader, is_head=False)).body

    names = ["a", "b"] * 40
    bodies = await asyncio.gather(*(ask(name) for name in names))
    assert bodies == [name.encode() * 1000 for name in names]
    assert lane.lane.taken == 80


async def test_packets_of_one_request_that_come_in_one_turn_take_the_lane(lane: Door) -> None:
    request = get_of("a")
    async with connection(lane) as (reader, writer):
        with endless(lane.application.lane_turn) as came:
            writer.write(request[:30])
            await came.wait()
            writer.write(request[30:])
            await asyncio.sleep(0.05)
        lane.application.lane_turn.run()
        assert (await outcome(reader, is_head=False)).body == b"a" * 1000
    assert lane.lane.taken == 1


async def test_requests_behind_a_large_body_are_answered_in_their_order(lane: Door) -> None:
    async with connection(lane) as (reader, writer):
        for _ in range(3):
            writer.write(get_of("large"))
            await asyncio.sleep(0.01)
            writer.write(get_of("a"))
            writer.write(get_of("b"))
            bodies = [(await outcome(reader, is_head=False)).body for _ in range(3)]
            assert [(body[:1], len(body)) for body in bodies] == [(b"l", LARGE), (b"a", 1000), (b"b", 1000)]


async def test_a_request_that_came_when_the_server_stops_is_answered(lane: Door) -> None:
    async with connection(lane) as (reader, writer):
        with endless(lane.application.lane_turn) as came:
            writer.write(get_of("a"))
            await came.wait()
        lane.server.stop()
        assert (await outcome(reader, is_head=False)).body == b"a" * 1000
        assert await reader.read() == b""


@dataclass(frozen=True)
class Step:
    """One request, and what is answered."""

    request: bytes
    status: bytes
    body: bytes


class Client:
    """What one connection asks: for the lane and for the ordinary path, of what is there and of what it has written."""

    def __init__(self, number: int, seed: int) -> None:
        self._random = random.Random(f"{seed}-{number}")
        self._number = number
        self._written: dict[str, bytes] = {}

    def burst(self) -> list[Step]:
        return [self._step() for _ in range(self._random.choice([1, 1, 1, 2, 4]))]

    def pieces(self, data: bytes) -> list[bytes]:
        cuts = sorted(self._random.randrange(len(data)) for _ in range(self._random.choice([0, 0, 1, 3])))
        return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]

    def _step(self) -> Step:
        known = {"a": b"a" * 1000, "b": b"b" * 1000, **self._written}
        kind = self._random.choice(["lane", "lane", "lane", "ordinary", "missing", "large", "put", "put"])
        name = self._random.choice(list(known))
        if kind == "lane":
            return Step(get_of(name), OK, known[name])
        if kind == "ordinary":
            return Step(get_of(name).replace(b"\r\n\r\n", b"\r\nCookie: a=b\r\n\r\n"), OK, known[name])
        if kind == "missing":
            return Step(get_of("none"), b"HTTP/1.1 404 Not Found", b"")
        if kind == "large" and self._random.random() < 0.2:
            return Step(get_of("large"), OK, b"l" * LARGE)
        name = f"{self._number}-{self._random.randrange(3)}"
        body = self._written[name] = self._random.randbytes(self._random.choice([1, 500, 20_000, 100_000]))
        return Step(put_of(name, body), OK, b"")


async def test_each_of_many_connections_gets_its_answers_in_its_order(lane: Door) -> None:
    """Whatever came beside it in a turn, in however many pieces, and whichever path answered."""
    seed = int.from_bytes(os.urandom(4))

    async def ask(number: int) -> None:
        client = Client(number, seed)
        async with connection(lane) as (reader, writer):
            for _ in range(BURSTS):
                steps = client.burst()
                for piece in client.pieces(b"".join(step.request for step in steps)):
                    writer.write(piece)
                    await asyncio.sleep(0)
                for step in steps:
                    answer = await outcome(reader, is_head=False)
                    assert answer.status == step.status, f"seed {seed}, connection {number}"
                    if step.status == OK:
                        assert answer.body == step.body, f"seed {seed}, connection {number}"

    await asyncio.gather(*map(ask, range(CONNECTIONS)))
    assert lane.lane.taken > CONNECTIONS * BURSTS / 4
