"""How slow the other side may be: whoever moves too little within the time given is given up.

A deadline on each step alone lets a client hold its place for ever by a byte now and then, and a deadline on the whole
would cut off who is slow and steady with a large object. So what counts is how much came within a stretch of waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PROGRESS_BYTES_MIN = 64 << 10
"""To be moved in each stretch of waiting: about 1 KiB a second with the default of 60 s."""


class Patience:
    """With one direction of one body. Only time that was spent waiting counts, not what we need ourselves."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._began = 0.0
        self._waited = 0.0
        self._moved = 0

    def begin(self) -> None:
        """The other side is waited for from now on."""
        self._began = self._clock()

    def is_out(self, moved: int) -> bool:
        """So many bytes came at the end of the wait: whether that is too little for the time that it took."""
        self._waited += self._clock() - self._began
        self._moved += moved
        if self._waited < self.seconds:
            return False
        too_little = self._moved < PROGRESS_BYTES_MIN
        self._waited, self._moved = 0.0, 0
        return too_little
