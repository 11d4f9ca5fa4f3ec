"""`Pace`: the bound holds over any stretch of time, and idle time is not saved up."""

from __future__ import annotations

from dataclasses import dataclass

from shoal_core.pace import Pace


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def pace(clock: Clock, per_second: float) -> Pace:
    return Pace(per_second, clock=clock, sleep=clock.sleep)


async def test_work_takes_as_long_as_the_pace_says() -> None:
    clock = Clock()
    bounded = pace(clock, 10)
    for amount in (1, 4, 0, 20):
        await bounded.spend(amount)
    assert clock.now == 102.5


async def test_time_that_the_work_itself_took_counts() -> None:
    clock = Clock()
    bounded = pace(clock, 10)
    await bounded.spend(10)
    clock.now += 0.5
    await bounded.spend(10)
    assert clock.now == 102.0


async def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    bounded = pace(clock, 10)
    clock.now += 1000
    await bounded.spend(10)
    assert clock.now == 1100.0
    await bounded.spend(10)
    assert clock.now == 1101.0
