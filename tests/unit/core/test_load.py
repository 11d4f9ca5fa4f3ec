"""`load`: what follows from a reading, who gets a place, and that a pace holds over any stretch of time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from shoal_core.errors import TooBusy
from shoal_core.load import EASY, REFUSED, SPEED_MIN, Limit, Load, Pace, Places
from shoal_core.machine import MachineReading
from support.clock import Clock
from support.waiting import eventually

GIB = 1 << 30


def memory(available: float, *, total: int = 8 * GIB) -> MachineReading:
    return replace(EASY, memory_bytes=total, memory_available_bytes=round(available))


def after(reading: MachineReading, *, loop_late_seconds: float = 0.0) -> Load:
    load = Load(lambda: EASY)
    load.take(reading, loop_late_seconds=loop_late_seconds)
    return load


def test_an_idle_machine_lets_everything_go_at_full_speed() -> None:
    load = after(EASY)
    assert (load.speed, load.ahead(64), load.is_short_of_memory) == (1.0, 64, False)


@pytest.mark.parametrize(
    ("reading", "loop_late_seconds"),
    [
        (replace(EASY, processor_waiting=1.0), 0.0),
        (replace(EASY, disk_waiting=1.0), 0.0),
        (EASY, 2.0),
        (memory(0.01 * GIB), 0.0),
    ],
)
def test_background_work_slows_down_but_does_not_stop(
    reading: MachineReading, loop_late_seconds: float
) -> None:
    assert after(reading, loop_late_seconds=loop_late_seconds).speed == SPEED_MIN


def test_the_busier_the_slower() -> None:
    speeds = [after(replace(EASY, disk_waiting=share / 20)).speed for share in range(21)]
    assert speeds == sorted(speeds, reverse=True)
    assert (speeds[0], speeds[-1]) == (1.0, SPEED_MIN)
    assert len(set(speeds)) > 5


def test_a_busy_processor_and_disk_leave_reading_ahead_alone() -> None:
    load = after(replace(EASY, processor_waiting=1.0, disk_waiting=1.0))
    assert (load.ahead(64), load.is_short_of_memory) == (64, False)


def test_less_is_read_ahead_as_memory_gets_short_but_always_one() -> None:
    found = [after(memory(share * 8 * GIB)).ahead(64) for share in (0.5, 0.12, 0.08, 0.01)]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (64, 1)


def test_memory_is_short_below_a_twentieth_or_a_gibibyte_whichever_is_less() -> None:
    assert after(memory(0.39 * GIB)).is_short_of_memory
    assert not after(memory(0.41 * GIB)).is_short_of_memory
    assert not after(memory(1.1 * GIB, total=1024 * GIB)).is_short_of_memory
    assert after(memory(0.9 * GIB, total=1024 * GIB)).is_short_of_memory


async def test_a_reading_is_taken_once_a_second_and_says_how_late_the_loop_was() -> None:
    clock = Clock()
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        if len(taken) == 3:
            await asyncio.Event().wait()
        taken.append(clock.now)
        clock.now += seconds + 3 * len(taken)

    load = Load(lambda: EASY, clock=clock, sleep=sleep)
    following = asyncio.create_task(load.follow())
    await eventually(lambda: len(taken) == 3 and load.speed < 1)
    following.cancel()


async def test_a_reading_that_fails_leaves_the_last_answers() -> None:
    reads = 0

    def read() -> MachineReading:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise OSError("no /proc here")
        return EASY if reads == 1 else replace(EASY, disk_waiting=1.0)

    load = Load(read, sleep=lambda _: asyncio.sleep(0))
    following = asyncio.create_task(load.follow())
    await eventually(lambda: load.speed < 1)
    following.cancel()
    assert reads >= 3


def test_places_are_taken_until_there_is_none_and_given_back() -> None:
    places = Places("some", 2, load=Load())
    room = []
    for _ in range(2):
        places.take(what="twos")
        room.append(places.has_room)
    assert room == [True, False]
    with pytest.raises(TooBusy, match="repeat") as refused:
        places.take(what="twos")
    assert refused.value.metadata == {"limit": "2"}
    places.give_back()
    places.take(what="twos")
    assert places.taken == 2


def test_what_places_hold_together_is_bounded_and_the_first_is_always_served() -> None:
    places = Places("some", 10, load=Load(), bytes_max=100)
    places.take(200, what="requests")
    with pytest.raises(TooBusy, match="memory"):
        places.take(1, what="requests")
    places.give_back(200)
    places.take(60, what="requests")
    places.take(40, what="requests")
    assert places.bytes_taken == 100
    with pytest.raises(TooBusy):
        places.take(1, what="requests")


def test_nothing_new_is_taken_while_memory_is_short() -> None:
    load = after(memory(0))
    places = Places("some", 10, load=load)
    room = [places.has_room]
    with pytest.raises(TooBusy, match="short of memory"):
        places.take(what="requests")
    load.take(EASY)
    places.take(what="requests")
    assert ([*room, places.has_room], places.taken) == ([False, True], 1)


def test_a_refusal_is_counted() -> None:
    limit = Limit("counted", 7)
    counter = REFUSED.labels("counted")
    before = counter._value.get()
    assert limit.refusal("too much").metadata == {"limit": "7"}
    assert (limit.refused, counter._value.get()) == (1, before + 1)


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


async def test_a_pace_follows_the_load() -> None:
    clock = Clock()
    load = Load(lambda: EASY, clock=clock, sleep=clock.sleep)
    bounded = load.pace(10)
    await bounded.spend(10)
    assert clock.now == 101.0
    load.take(replace(EASY, disk_waiting=1.0))
    await bounded.spend(10)
    assert clock.now == 101.0 + 1 / SPEED_MIN
