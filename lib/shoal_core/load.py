"""How busy this process and its machine are, and what follows from it: may I, how much, how fast.

Whoever takes requests, reads ahead or works in the background asks here, and nowhere else:

* may I: `Places` are taken by requests, calls and batches while they last; when all are taken, or memory is short,
  the next one is refused with TooBusy. `Limit` words and counts such refusals, also those of full queues.
* how much: `Load.ahead` says how much of what is not wanted yet may be held.
* how fast: `Load.pace` lets background work go at its bound, and slower the busier the machine is, but never stops it.

`Load.follow` takes a reading once a second; between two, an answer costs a look at an attribute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from shoal_core.errors import TooBusy
from shoal_core.machine import Machine, MachineReading
from shoal_core.telemetry import get_logger

READING_SECONDS = 1.0
SPEED_MIN = 0.1
"""Of what background work may do at most, so that it ends some day however busy the machine is."""
MEMORY_SHORT_SHARE = 1 / 20
MEMORY_SHORT_BYTES_MAX = 1 << 30
"""Memory is short when less than this share of it, or this, is available."""
SHARE = 16
SHARE_BYTES_MIN, SHARE_BYTES_MAX = 64 << 20, 2 << 30
"""What the requests of a worker, or the calls of a listener, may hold together: a sixteenth of memory within these."""
UNBOUNDED = 1 << 62
TOLD_SECONDS = 10.0
"""Between two lines of the log about refusals of one kind: under overload there are thousands a second."""

REFUSED = Counter("shoal_refused_total", "What was refused because a limit was reached", ["limit"])
SPEED = Gauge(
    "shoal_background_speed", "Share of its bound at which background work goes", multiprocess_mode="livemin"
)

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]
Read = Callable[[], MachineReading]

EASY = MachineReading(1 << 40, 1 << 40, processor_waiting=0.0, disk_waiting=0.0)


class Load:
    """Of one process; its `__main__` makes it and lets it follow. One that follows nothing finds everything easy."""

    def __init__(
        self, read: Read | None = None, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._read = read or Machine().read
        self._clock = clock
        self._sleep = sleep
        self.speed = 1.0
        """SPEED_MIN to 1: how fast background work may go."""
        self.is_short_of_memory = False
        self._memory_ease = 1.0
        self.share_bytes = share_of(self._read().memory_bytes)
        """What one kind of places may hold together."""

    async def follow(self) -> None:
        """For ever. A loop that is late for its own reading is late for everybody."""
        SPEED.set(self.speed)
        while True:
            due = self._clock() + READING_SECONDS
            await self._sleep(READING_SECONDS)
            late_seconds = self._clock() - due
            try:
                reading = await asyncio.to_thread(self._read)
            except (OSError, ValueError, LookupError) as error:
                get_logger().warning("load-not-read", reason=str(error))
            else:
                self.take(reading, loop_late_seconds=late_seconds)

    def take(self, reading: MachineReading, *, loop_late_seconds: float = 0.0) -> None:
        """From now on, answer by this reading."""
        short_bytes = min(reading.memory_bytes * MEMORY_SHORT_SHARE, MEMORY_SHORT_BYTES_MAX)
        available = reading.memory_available_bytes
        self.is_short_of_memory = available < short_bytes
        self._memory_ease = ease(-available, easy=-3 * short_bytes, hard=-short_bytes)
        self.speed = max(
            SPEED_MIN,
            min(
                self._memory_ease,
                ease(reading.processor_waiting, easy=0.5, hard=0.95),
                ease(reading.disk_waiting, easy=0.5, hard=0.95),
                ease(loop_late_seconds, easy=0.05, hard=0.5),
            ),
        )
        SPEED.set(self.speed)

    def ahead(self, most: int) -> int:
        """How many of at most `most` things may be held before they are wanted: fewer as memory gets short."""
        return max(1, round(most * self._memory_ease))

    def pace(self, per_second: float) -> Pace:
        """For background work: at most so many units a second, and less while others need the machine."""
        return Pace(per_second, speed=lambda: self.speed, clock=self._clock, sleep=self._sleep)


def share_of(memory_bytes: int) -> int:
    """Several processes have several kinds of places each, so each kind gets a small one."""
    return min(max(memory_bytes // SHARE, SHARE_BYTES_MIN), SHARE_BYTES_MAX)


def ease(value: float, *, easy: float, hard: float) -> float:
    """1 up to `easy`, 0 from `hard` on, and straight between them."""
    return min(1.0, max(0.0, (hard - value) / (hard - easy)))


class Pace:
    """At most `per_second` units in the long run. Idle time is not saved up beyond the next piece of work."""

    def __init__(
        self,
        per_second: float,
        *,
        speed: Callable[[], float] = lambda: 1.0,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        assert per_second > 0, "a pace of nothing would never end"
        self._per_second = per_second
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    async def spend(self, amount: float) -> None:
        """After `amount` units of work: waits until they would have been done since the last time at this pace."""
        now = self._clock()
        self._free_at = max(self._free_at + amount / (self._per_second * self._speed()), now)
        if self._free_at > now:
            await self._sleep(self._free_at - now)


@dataclass(slots=True)
class Limit:
    """How much there may be of something at a time, and what is said past it."""

    name: str
    """In the metrics and the log."""
    most: int
    kind: type[TooBusy] = TooBusy
    """What its refusals are."""
    refused: int = 0
    told_at: float = float("-inf")

    def refusal(self, message: str) -> TooBusy:
        """To be raised; counted, and logged now and then."""
        self.refuse()
        return self.kind(message, limit=str(self.most))

    def refuse(self) -> None:
        """Where there is nobody to tell."""
        self.refused += 1
        REFUSED.labels(self.name).inc()
        now = time.monotonic()
        if now - self.told_at >= TOLD_SECONDS:
            self.told_at = now
            get_logger().warning("refused", limit=self.name, most=self.most, so_far=self.refused)


class Places:
    """Taken by what goes on at a time, `most` at most, together holding at most `bytes_max` bytes of memory."""

    def __init__(
        self,
        name: str,
        most: int,
        *,
        load: Load,
        bytes_max: int = UNBOUNDED,
        kind: type[TooBusy] = TooBusy,
    ) -> None:
        self.limit = Limit(name, most, kind)
        self.bytes_limit = Limit(f"{name}-bytes", bytes_max, kind)
        self.memory_limit = Limit(f"{name}-memory", 0, kind)
        self.taken = 0
        self.bytes_taken = 0
        self._load = load

    @property
    def has_room(self) -> bool:
        """For one more that holds next to nothing."""
        return self.taken < self.limit.most and not self._load.is_short_of_memory

    def has_room_for(self, bytes_held: int) -> bool:
        """For one more that holds so much."""
        return self.has_room and self.bytes_taken + bytes_held <= self.bytes_limit.most

    def take(self, bytes_held: int = 0, *, what: str) -> None:
        """`give_back` must follow. Raises TooBusy, in which `what` names those that are served, where they are."""
        if self.taken >= self.limit.most:
            raise self.limit.refusal(f"{what} are served already, {self.limit.most}: repeat shortly")
        if self.bytes_taken + bytes_held > self.bytes_limit.most and self.taken:
            raise self.bytes_limit.refusal(f"{what} hold all the memory that they may: repeat shortly")
        if self._load.is_short_of_memory:
            raise self.memory_limit.refusal("this machine is short of memory: repeat shortly")
        self.taken += 1
        self.bytes_taken += bytes_held

    def give_back(self, bytes_held: int = 0) -> None:
        self.taken -= 1
        self.bytes_taken -= bytes_held
