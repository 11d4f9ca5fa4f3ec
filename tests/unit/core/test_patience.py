"""`Patience`: slow and steady may go on, a byte now and then may not."""

from __future__ import annotations

from shoal_core.patience import PROGRESS_BYTES_MIN, Patience
from support.clock import Clock


def moves(patience: Patience, clock: Clock, amount: int, *, each_seconds: float, times: int) -> bool:
    """Whether the other side is given up."""
    for _ in range(times):
        patience.begin()
        clock.now += each_seconds
        if patience.is_out(amount):
            return True
    return False


def test_a_byte_a_second_is_given_up_after_the_time() -> None:
    clock = Clock()
    patience = Patience(60, clock=clock)
    assert not moves(patience, clock, 1, each_seconds=1, times=59)
    assert moves(patience, clock, 1, each_seconds=1, times=1)


def test_slow_and_steady_may_go_on_for_hours() -> None:
    clock = Clock()
    assert not moves(Patience(60, clock=clock), clock, 2048, each_seconds=1, times=10_000)


def test_what_came_before_does_not_make_up_for_a_later_stall() -> None:
    clock = Clock()
    patience = Patience(60, clock=clock)
    assert not moves(patience, clock, 100 * PROGRESS_BYTES_MIN, each_seconds=60, times=1)
    assert moves(patience, clock, 10, each_seconds=30, times=2)


def test_time_that_we_need_ourselves_does_not_count() -> None:
    clock = Clock()
    patience = Patience(60, clock=clock)
    for _ in range(100):
        patience.begin()
        assert not patience.is_out(1)
        clock.now += 1000
