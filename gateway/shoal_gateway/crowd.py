"""How many connections a worker keeps, and who goes when one more comes than that.

Idle ones make room, those that have been idle longest first: their clients connect again, while a refusal would hit who
has something to ask. When nobody is idle, the newcomer is told to come later, in the words of the face that it asks.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from typing import Protocol

from shoal_core.load import Limit

SHARE_CLOSED = 16
"""One part in so many of the connections is closed at a time, so that a storm of newcomers costs few looks at all."""
NEWCOMERS_MAX = 64
"""Connections above the limit that live until they have been refused; more are cut."""
OWN_DESCRIPTORS = 160
"""Of disks, other processes, threads and files that are not a connection's."""
DESCRIPTORS_EACH = 2
"""A connection may have a second one, under which files are sent beside the event loop."""
CONNECTIONS_MIN = 16


class Guest(Protocol):
    """A connection, as the crowd sees it."""

    def idle_since(self) -> float | None:
        """When its last request ended; None while it has one, or is closing."""
        ...

    def make_room(self) -> None:
        """Close it in order."""
        ...


class Crowd:
    """The connections of one worker."""

    def __init__(self, most: int) -> None:
        self.limit = Limit("connections", most)
        self._leaving = 0
        """Told to make room, and not gone yet."""

    def admits(self, guests: Iterable[Guest], count: int) -> bool:
        """Whether the newest of these `count` may stay and ask; otherwise it may stay to be refused."""
        if count - self._leaving <= self.limit.most:
            return True
        idle = [(since, guest) for guest in guests if (since := guest.idle_since()) is not None]
        # The newest is among them, and has been idle for the shortest time.
        idle.sort(key=lambda each: each[0])
        for _, guest in idle[:-1][: max(1, self.limit.most // SHARE_CLOSED)]:
            self._leaving += 1
            guest.make_room()
        return count - self._leaving <= self.limit.most

    def is_overrun(self, count: int) -> bool:
        """Whether there is not even room for one that will be refused."""
        return count > self.limit.most + NEWCOMERS_MAX

    def left(self) -> None:
        """One that was told to make room is gone."""
        self._leaving -= 1


def connections_that_fit(wanted: int, descriptors: int | None = None) -> int:
    """Of `wanted` connections, as many as the process may have descriptors for."""
    if descriptors is None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = (descriptors - OWN_DESCRIPTORS - NEWCOMERS_MAX // 2) // DESCRIPTORS_EACH
    return min(wanted, max(CONNECTIONS_MIN, fitting))
