"""`Crowd`: who goes when one connection more comes than a worker keeps."""

from __future__ import annotations

from dataclasses import dataclass

from shoal_gateway.crowd import (
    CONNECTIONS_MIN,
    DESCRIPTORS_EACH,
    NEWCOMERS_MAX,
    SHARE_CLOSED,
    Crowd,
    connections_that_fit,
)


@dataclass
class Connection:
    """Idle since then; None: busy."""

    since: float | None
    told_to_go: bool = False

    def idle_since(self) -> float | None:
        return None if self.told_to_go else self.since

    def make_room(self) -> None:
        self.told_to_go = True


def test_up_to_the_limit_all_may_stay() -> None:
    guests = [Connection(float(number)) for number in range(10)]
    assert Crowd(10).admits(guests, len(guests))
    assert not any(guest.told_to_go for guest in guests)


def test_the_longest_idle_make_room_and_the_newest_stays() -> None:
    most = 2 * SHARE_CLOSED
    guests = [Connection(float(number)) for number in range(most + 1)]
    assert Crowd(most).admits(guests, len(guests))
    assert [guest.told_to_go for guest in guests] == [True, True] + [False] * (most - 1)


def test_those_on_their_way_out_are_not_counted_again() -> None:
    most = 2 * SHARE_CLOSED
    guests = [Connection(float(number)) for number in range(most + 1)]
    crowd = Crowd(most)
    assert crowd.admits(guests, len(guests))
    guests.append(Connection(99.0))
    assert crowd.admits(guests, len(guests))
    assert sum(guest.told_to_go for guest in guests) == 2
    crowd.left()
    crowd.left()
    assert crowd.admits(guests, most)


def test_busy_connections_are_left_alone_and_the_newcomer_is_not_admitted() -> None:
    guests = [Connection(None) for _ in range(4)] + [Connection(1.0)]
    assert not Crowd(4).admits(guests, len(guests))
    assert not any(guest.told_to_go for guest in guests)


def test_few_newcomers_may_wait_for_their_refusal() -> None:
    crowd = Crowd(4)
    assert not crowd.is_overrun(4 + NEWCOMERS_MAX)
    assert crowd.is_overrun(5 + NEWCOMERS_MAX)


def test_connections_fit_into_the_descriptors_of_the_process() -> None:
    assert connections_that_fit(10_000, 1 << 20) == 10_000
    few = connections_that_fit(10_000, 1024)
    assert CONNECTIONS_MIN < few < 1024 // DESCRIPTORS_EACH
    assert connections_that_fit(10_000, 64) == CONNECTIONS_MIN
    assert connections_that_fit(10_000) > CONNECTIONS_MIN
