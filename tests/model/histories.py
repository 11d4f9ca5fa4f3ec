"""Clients that write, read, delete and list few keys at once, and remember what they saw and when."""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import inf

from model.doors import Door, Found, Missing, NotSent, Refused, Unanswered
from model.linearizable import Condition, Kind, Operation, is_linearizable

KEYS = ("a", "b/1", "b/2", "c", "d", "e")
SIZES = (100, 40_000, 200_000)
"""In the index, in one small file, in more than one piece. A value is the length of its body, so that listings tell it
too: one of these, and a number that no other body has."""
VALUES_MAX = 15_000
PAUSE_SECONDS = 0.3
"""After a request without an answer: each of them may have happened at any later time, which is a lot to search."""


def body_of(value: int) -> bytes:
    """Its writer's mark from the first byte to the last."""
    mark = f"{value:011d};".encode()
    return (mark * (value // len(mark) + 1))[:value]


@dataclass
class History:
    """What all clients saw, by key; and what no order of operations can explain."""

    operations: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    torn: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: count[int] = field(default_factory=count)

    def add(self, key: str, operation: Operation) -> None:
        with self.lock:
            self.operations[key].append(operation)

    def note(self, outcome: str) -> None:
        with self.lock:
            self.outcomes[outcome] += 1

    def new_value(self, chance: random.Random) -> int:
        with self.lock:
            number = next(self._numbers)
        assert number < VALUES_MAX
        return chance.choice(SIZES) + number

    def assert_explained(self) -> None:
        assert self.torn == []
        for key, operations in self.operations.items():
            assert is_linearizable(operations), f"{key}:\n" + told(shortest_unexplained(operations))


class HistoryClient:
    """One door, one operation at a time."""

    def __init__(self, name: str, make: Callable[[], Door], history: History, seed: int) -> None:
        self.name = name
        self._make = make
        self._history = history
        self._chance = random.Random(seed)
        self._seen: dict[str, tuple[int, str]] = {}
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=name)

    def _run(self) -> None:
        try:
            door = self._make()
            try:
                while not self.stopping.is_set():
                    self._act(door)
            finally:
                door.close()
        except BaseException as error:
            self.failure = error

    def _act(self, door: Door) -> None:
        key = self._chance.choice(KEYS)
        action = self._chance.choices(
            (self._get, self._put, self._create, self._swap, self._delete, self._list), (6, 4, 1, 2, 1, 1)
        )[0]
        try:
            action(door, key)
            self._history.note("answered")
        except NotSent:
            self._history.note("not sent")
            self.stopping.wait(PAUSE_SECONDS)
        except Unanswered:
            self._history.note("unanswered")
            self.stopping.wait(PAUSE_SECONDS)

    def _get(self, door: Door, key: str) -> None:
        invoked = time.monotonic()
        try:
            found: Found | None = door.get(key)
        except Missing:
            found = None
        self._saw(key, len(found.body) if found else None, invoked)
        if found is not None:
            self._seen[key] = len(found.body), found.etag
            if found.body != body_of(len(found.body)):
                self._history.torn.append(f"{self.name} {key}: {found.body[:24]!r}, {len(found.body)} bytes")

    def _put(self, door: Door, key: str) -> None:
        self._write(door, key, Condition.NONE)

    def _create(self, door: Door, key: str) -> None:
        self._write(door, key, Condition.ABSENT, if_none_match="*")

    def _swap(self, door: Door, key: str) -> None:
        if key in self._seen:
            value, etag = self._seen[key]
            self._write(door, key, Condition.EXPECTED, expected=value, if_match=etag)

    def _write(
        self,
        door: Door,
        key: str,
        condition: Condition,
        *,
        expected: int | None = None,
        if_match: str = "",
        if_none_match: str = "",
    ) -> None:
        value, invoked = self._history.new_value(self._chance), time.monotonic()
        operation = Operation(Kind.WRITE, value, invoked, inf, condition, expected, client=self.name)
        try:
            door.put(key, body_of(value), if_match=if_match, if_none_match=if_none_match)
        except Refused:
            operation = replace(operation, refused=True)
        except Missing:
            # S3 says so of If-Match on nothing.
            operation = replace(operation, refused=True)
        except Unanswered:
            self._history.add(key, operation)
            raise
        self._history.add(key, replace(operation, returned=time.monotonic()))

    def _delete(self, door: Door, key: str) -> None:
        # One that never says whether there was something is a write of nothing.
        kind, invoked = Kind.DELETE if door.tells_missing else Kind.WRITE, time.monotonic()
        operation = Operation(kind, None, invoked, client=self.name)
        try:
            door.delete(key)
        except Missing:
            self._saw(key, None, invoked)
            return
        except Unanswered:
            self._history.add(key, operation)
            raise
        self._history.add(key, replace(operation, returned=time.monotonic()))

    def _list(self, door: Door, key: str) -> None:
        """A read of every key, hence of one that was put before; the keys may have been looked at one after another."""
        invoked = time.monotonic()
        sizes = door.sizes()
        for each in KEYS:
            self._saw(each, sizes.get(each), invoked)

    def _saw(self, key: str, value: int | None, invoked: float) -> None:
        self._history.add(key, Operation(Kind.READ, value, invoked, time.monotonic(), client=self.name))


def observed(
    makes: Sequence[Callable[[], Door]], *, seed: int, meanwhile: Callable[[History], None]
) -> History:
    """What clients through these doors saw while `meanwhile` ran. Raises what a client did not expect."""
    history = History()
    clients = [HistoryClient(f"c{number}", make, history, seed + number) for number, make in enumerate(makes)]
    for client in clients:
        client.thread.start()
    try:
        meanwhile(history)
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.thread.join()
    for client in clients:
        if client.failure is not None:
            raise client.failure
    return history


def until(operations: Sequence[Operation], moment: float) -> list[Operation]:
    """As it looked at that moment: what had not returned has no known outcome, and reads without one say nothing."""
    begun = [each for each in operations if each.invoked <= moment]
    return [
        each if each.returned <= moment else replace(each, returned=inf)
        for each in begun
        if each.returned <= moment or not each.changes_nothing
    ]


def shortest_unexplained(operations: Sequence[Operation]) -> list[Operation]:
    """The history up to the first answer that nothing explains."""
    moments = sorted(each.returned for each in operations if each.known)
    explained = bisect_left(moments, True, key=lambda moment: not is_linearizable(until(operations, moment)))
    return until(operations, moments[explained])


def told(operations: Sequence[Operation]) -> str:
    """The last of them, in the order of their beginning."""
    ordered = sorted(operations, key=lambda each: each.invoked)[-25:]
    return "\n".join(
        f"{each.invoked:.4f}..{each.returned:.4f} {each.client} {each.kind.name} {each.value}"
        f" {each.condition.name} {each.expected} refused={each.refused}"
        for each in ordered
    )
