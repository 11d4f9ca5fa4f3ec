"""A connection on which a request was too much is not read for a while."""

from __future__ import annotations

import asyncio

import pytest

from shoal_gateway import resting
from shoal_gateway.parts import Parts
from shoal_gateway.resting import Resting
from support.served_gateway import GET, PUT, served
from support.waiting import eventually

HEALTH = "GET /v1/health HTTP/1.1\nHost: localhost\n\n"
FOR_EVER = 3600.0
A_MOMENT = 0.05


class Reading:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.paused = self.resumed = 0

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.resumed += 1


async def test_a_second_refusal_makes_the_rest_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "RESTING_SECONDS", A_MOMENT)
    reading = Reading()
    rest = Resting(reading)
    rest.begin()
    rest.begin()
    await eventually(lambda: reading.resumed == 1)
    rest.begin()
    await eventually(lambda: reading.resumed == 2)
    assert reading.paused == 2


async def test_a_connection_that_is_gone_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "RESTING_SECONDS", 0.0)
    reading = Reading()
    rest = Resting(reading)
    rest.begin()
    rest.cancel()
    await asyncio.sleep(0.01)
    assert reading.resumed == 0


async def test_nothing_is_read_after_a_refusal_until_the_rest_is_over(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "RESTING_SECONDS", FOR_EVER)
    async with (
        served(parts, requests_max=0) as gateway,
        gateway.connection() as rude,
        gateway.connection() as other,
    ):
        assert " 503 " in (await rude.ask(GET.format("o")))[0]
        rude.send(HEALTH)
        assert " 200 " in (await other.ask(HEALTH))[0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rude.answer(), A_MOMENT)


async def test_what_was_sent_during_the_rest_is_answered_after_it(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "RESTING_SECONDS", A_MOMENT)
    size = 8 << 20
    async with served(parts, requests_max=0) as gateway, gateway.connection() as connection:
        assert " 503 " in (await connection.ask(PUT.format("o", size), bytes(size)))[0]
        assert " 200 " in (await connection.ask(HEALTH))[0]


async def test_a_connection_that_ends_during_its_rest_is_forgotten(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "RESTING_SECONDS", A_MOMENT)
    async with served(parts, requests_max=0, connections_max=1) as gateway:
        async with gateway.connection() as gone:
            assert " 503 " in (await gone.ask(GET.format("o")))[0]
        async with gateway.connection() as newcomer:
            assert " 200 " in (await newcomer.ask(HEALTH))[0]
