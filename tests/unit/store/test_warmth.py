"""Looks into the index that had to wait send the next ones to threads."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from shoal_store.warmth import (
    CHECK_EVERY,
    COLD_SECONDS_MAX,
    WARM_LOOKS_MAX,
    WARM_LOOKS_MIN,
    WATCHFUL_CHECK_EVERY,
    WATCHFUL_SECONDS,
    Warmth,
)


class Disk:
    """Counts, for each thread, the looks that a test calls cold. Its clock stands until it is moved."""

    def __init__(self) -> None:
        self.waits = Counter[int]()
        self.is_cold = False
        self.threads: list[int] = []
        self.now = 1000.0
        self.warmth = Warmth(lambda: self.waits[threading.get_ident()], lambda: self.now)

    def look(self) -> int:
        self.waits[threading.get_ident()] += self.is_cold
        self.threads.append(threading.get_ident())
        return 7


async def looks(disk: Disk, count: int) -> list[bool]:
    """Which of so many looks were made on this thread."""
    disk.threads.clear()
    for _ in range(count):
        assert await disk.warmth.look(disk.look) == 7
    return [thread == threading.get_ident() for thread in disk.threads]


async def test_warm_looks_stay_on_the_loop() -> None:
    disk = Disk()
    assert all(await looks(disk, 100))


async def test_a_wait_sends_the_next_looks_to_threads_until_enough_of_them_were_warm() -> None:
    disk = Disk()
    disk.is_cold = True
    assert sum(await looks(disk, 100)) == CHECK_EVERY
    disk.is_cold = False
    assert not any(await looks(disk, WARM_LOOKS_MIN))
    assert all(await looks(disk, 10))


async def test_a_wait_in_a_thread_begins_the_count_again() -> None:
    disk = Disk()
    disk.is_cold = True
    await looks(disk, CHECK_EVERY)
    disk.is_cold = False
    await looks(disk, WARM_LOOKS_MIN - 1)
    disk.is_cold = True
    await looks(disk, 1)
    disk.is_cold = False
    assert not any(await looks(disk, WARM_LOOKS_MIN))
    assert all(await looks(disk, 10))


async def test_when_few_look_a_time_without_a_wait_is_enough() -> None:
    disk = Disk()
    disk.is_cold = True
    await looks(disk, CHECK_EVERY)
    disk.is_cold = False
    assert not any(await looks(disk, 3))
    disk.now += COLD_SECONDS_MAX
    assert all(await looks(disk, 3))


async def test_each_wait_soon_after_the_last_doubles_the_warm_looks_that_are_wanted() -> None:
    disk = Disk()
    disk.is_cold = True
    await looks(disk, CHECK_EVERY)
    wanted = WARM_LOOKS_MIN
    for _ in range(7):
        disk.is_cold = False
        assert not any(await looks(disk, wanted))
        disk.is_cold = True
        assert sum(await looks(disk, 20)) <= WATCHFUL_CHECK_EVERY
        wanted = min(2 * wanted, WARM_LOOKS_MAX)


async def test_after_a_quiet_time_it_is_as_if_nothing_had_been() -> None:
    disk = Disk()
    disk.is_cold = True
    await looks(disk, CHECK_EVERY)
    disk.is_cold = False
    disk.now += WATCHFUL_SECONDS + 1
    assert all(await looks(disk, WATCHFUL_CHECK_EVERY))
    disk.is_cold = True
    assert sum(await looks(disk, 100)) == CHECK_EVERY


async def test_errors_of_a_look_are_errors_of_its_caller() -> None:
    def fails() -> None:
        raise KeyError("name")

    with pytest.raises(KeyError):
        await Disk().warmth.look(fails)
