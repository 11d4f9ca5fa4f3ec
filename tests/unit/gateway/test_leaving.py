"""`Leaving`: a client may be slow with its last answer, but must take it."""

from __future__ import annotations

import pytest

from shoal_gateway import leaving
from shoal_gateway.leaving import Leaving
from support.waiting import eventually


class Connection:
    """Whose client takes `takes` bytes between two looks."""

    def __init__(self, unsent: int, *, takes: int) -> None:
        self.left = unsent
        self.looks = 0
        self.aborted = False
        self.leaving = Leaving(waiting=lambda: self.left, unsent=self.look, abort=self.abort)
        self._takes = takes

    def look(self) -> int:
        self.looks += 1
        left, self.left = self.left, max(self.left - self._takes, 0)
        return left

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LEAVING_SECONDS", 0.001)


async def test_who_takes_nothing_is_cut_off() -> None:
    connection = Connection(100, takes=0)
    connection.leaving.watch()
    await eventually(lambda: connection.aborted)
    assert connection.looks == 2


async def test_who_is_slow_may_take_all() -> None:
    connection = Connection(100, takes=10)
    connection.leaving.watch()
    await eventually(lambda: connection.looks == 10)
    await eventually(lambda: not connection.left)
    assert not connection.aborted


async def test_a_connection_that_has_sent_all_is_not_watched() -> None:
    connection = Connection(0, takes=0)
    connection.leaving.watch()
    assert (connection.looks, connection.aborted) == (0, False)
