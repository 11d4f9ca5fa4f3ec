"""What came in one turn of the event loop is received, answered and sent one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shoal_gateway.lane.lane import LaneAnswer
from shoal_gateway.lane.turn import ANSWERS_MAX, BYTES_MAX, Turn

ANSWER = LaneAnswer(("objects", "GET", 200), b"", None)  # type: ignore[arg-type]  # nobody looks


@dataclass(eq=False)
class Connection:
    name: str
    turn: Turn
    log: list[str]
    on_take: Callable[[], None] = field(default=lambda: None)

    def take(self, data: bytes) -> None:
        self.log.append(f"take {self.name} {data.decode()}")
        self.on_take()
        self.turn.answered(self, ANSWER, data)

    def send(self, answer: LaneAnswer, data: bytes) -> None:
        self.log.append(f"send {self.name} {data.decode()}")

    def abort(self) -> None:
        self.log.append(f"abort {self.name}")


@dataclass
class Turns:
    turn: Turn = field(default_factory=Turn)
    log: list[str] = field(default_factory=list)

    def connection(self, name: str, on_take: Callable[[], None] = lambda: None) -> Connection:
        return Connection(name, self.turn, self.log, on_take)


@pytest.fixture
def turns() -> Turns:
    return Turns()


async def test_all_are_answered_before_the_first_is_sent(turns: Turns) -> None:
    one, other = turns.connection("one"), turns.connection("other")
    turns.turn.add(one, b"1")
    turns.turn.add(other, b"2")
    assert turns.log == []
    await asyncio.sleep(0)
    assert turns.log == ["take one 1", "take other 2", "send one 1", "send other 2"]


async def test_what_comes_of_a_connection_meanwhile_is_one_piece(turns: Turns) -> None:
    one = turns.connection("one")
    turns.turn.add(one, b"1")
    turns.turn.add(one, b"2")
    await asyncio.sleep(0)
    assert turns.log == ["take one 12", "send one 12"]


async def test_the_next_turn_begins_empty(turns: Turns) -> None:
    one = turns.connection("one")
    for data in b"12":
        turns.turn.add(one, bytes([data]))
        await asyncio.sleep(0)
    assert turns.log == ["take one 1", "send one 1", "take one 2", "send one 2"]


async def test_many_answers_do_not_wait_for_more(turns: Turns) -> None:
    for number in range(ANSWERS_MAX + 1):
        turns.turn.add(turns.connection(str(number)), b"")
    await asyncio.sleep(0)
    kinds = [line.split()[0] for line in turns.log]
    assert kinds == ["take"] * ANSWERS_MAX + ["send"] * ANSWERS_MAX + ["take", "send"]


async def test_many_bytes_do_not_wait_for_the_end_of_the_turn(turns: Turns) -> None:
    one, other = turns.connection("one"), turns.connection("other")
    turns.turn.add(one, b"1")
    turns.turn.add(other, b"2" * BYTES_MAX)
    assert [line[:8] for line in turns.log] == ["take one", "take oth", "send one", "send oth"]
    turns.turn.add(one, b"3")
    await asyncio.sleep(0)
    assert turns.log[4:] == ["take one 3", "send one 3"]


async def test_a_fault_of_ours_ends_one_connection(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("of ours")

    bad, good = turns.connection("bad", fail), turns.connection("good")
    with caplog.at_level(logging.ERROR):
        turns.turn.add(bad, b"1")
        turns.turn.add(good, b"2")
        await asyncio.sleep(0)
    assert turns.log == ["take bad 1", "abort bad", "take good 2", "send good 2"]
