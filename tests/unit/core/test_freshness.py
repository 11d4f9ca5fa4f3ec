"""A process that stood still goes by what it knows only after it has caught up."""

from __future__ import annotations

import asyncio

import pytest

from shoal_core import freshness
from shoal_core.errors import ControlPlaneDown
from shoal_core.freshness import ATTEMPTS_MAX, PAUSE_SECONDS_MAX, Freshness
from shoal_core.node import background
from support.waiting import eventually


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only item is now."""
    now = [1000.0]
    monkeypatch.setattr(freshness, "boottime_seconds", lambda: now[0])
    monkeypatch.setattr(freshness, "LOOK_SECONDS", 0.01)
    return now


@pytest.mark.parametrize("etcd_is_away", [False, True])
async def test_after_a_pause_it_holds_again_when_all_is_known_or_nothing_can_be(
    clock: list[float], etcd_is_away: bool
) -> None:
    answers = asyncio.Event()

    async def catch_up() -> None:
        await answers.wait()
        if etcd_is_away:
            raise ControlPlaneDown("etcd is away")

    fresh = Freshness(catch_up)
    async with background(fresh.keep()):
        await asyncio.sleep(0)
        assert fresh.holds()
        assert not await fresh.wait()
        clock[0] += PAUSE_SECONDS_MAX
        assert not fresh.holds()
        waiting = asyncio.create_task(fresh.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        answers.set()
        await eventually(waiting.done)
        assert waiting.result()
        assert fresh.holds()


async def test_a_failure_to_catch_up_is_not_yet_the_end_of_etcd(clock: list[float]) -> None:
    attempts = 0

    async def catch_up() -> None:
        nonlocal attempts
        attempts += 1
        assert not fresh.holds()
        if attempts < ATTEMPTS_MAX:
            raise ControlPlaneDown("the connection was lost")

    fresh = Freshness(catch_up)
    async with background(fresh.keep()):
        await asyncio.sleep(0)
        clock[0] += PAUSE_SECONDS_MAX
        assert await fresh.wait()
        assert attempts == ATTEMPTS_MAX


async def test_one_that_stands_still_while_it_catches_up_does_so_again(clock: list[float]) -> None:
    attempts = 0

    async def catch_up() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            clock[0] += PAUSE_SECONDS_MAX

    fresh = Freshness(catch_up)
    async with background(fresh.keep()):
        await asyncio.sleep(0)
        clock[0] += PAUSE_SECONDS_MAX
        assert await fresh.wait()
        assert attempts == 2
