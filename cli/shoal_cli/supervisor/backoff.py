"""How long to wait before a process that ended is started again."""

from __future__ import annotations

FIRST_SECONDS = 0.2
SECONDS_MAX = 10.0
GOOD_RUN_SECONDS = 30.0


class Backoff:
    """Doubles from end to end; a process that ran for a while starts afresh."""

    def __init__(self) -> None:
        self._next_seconds = FIRST_SECONDS

    def pause_seconds(self, ran_seconds: float) -> float:
        if ran_seconds >= GOOD_RUN_SECONDS:
            self._next_seconds = FIRST_SECONDS
        pause = self._next_seconds
        self._next_seconds = min(pause * 2, SECONDS_MAX)
        return pause
