"""The crew works on many items at once, but never on more than allowed, and stops at the first failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shoal_cli.crew import each
from shoal_cli.failures import FAILURES_MAX, Failures
from shoal_core.errors import ObjectNotFound, ShoalError


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_all_items_are_worked_on_with_bounded_concurrency() -> None:
    done, running, most = set(), 0, 0

    async def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.add(number)

    await each(numbers(100), work, at_once=8)
    assert done == set(range(100))
    assert most == 8


async def test_first_failure_ends_the_work() -> None:
    async def work(number: int) -> None:
        if number == 3:
            raise ObjectNotFound("no 3")

    with pytest.raises(ObjectNotFound, match="no 3"):
        await each(numbers(10_000_000), work, at_once=8)


async def test_failures_of_single_objects_are_told_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    failures = Failures()

    async def missing() -> None:
        raise ObjectNotFound("it does not exist")

    await failures.guard("ais://b/\x1bx", missing)
    assert failures.exit_code == 1
    assert capsys.readouterr().err == "shoal: ais://b/\\x1bx: it does not exist\n"


async def test_after_many_failures_the_transfer_stops() -> None:
    failures = Failures()

    async def missing() -> None:
        raise ObjectNotFound("it does not exist")

    for _ in range(FAILURES_MAX - 1):
        await failures.guard("x", missing)
    with pytest.raises(ShoalError, match=f"stopped after {FAILURES_MAX} failures"):
        await failures.guard("x", missing)
