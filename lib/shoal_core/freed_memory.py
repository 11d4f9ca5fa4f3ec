"""Memory that was freed, given back to the system once the work that needed it is over.

glibc keeps what large buffers of many threads have left, in pieces of its heaps, for the next ones: after a storm of
batches a hundred megabytes a process, for as long as it lives.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CALM_SECONDS = 3.0
"""After the last work. To give back is cheap, but to take again is not, and work comes in bursts."""


class FreedMemory:
    """Of one event loop."""

    def __init__(
        self, give_back: Callable[[], object] | None = None, *, calm_seconds: float = CALM_SECONDS
    ) -> None:
        self._give_back = give_back or trimmer()
        self._calm_seconds = calm_seconds
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Around work that needs much memory for a while."""
        self._users += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._timer = asyncio.get_running_loop().call_later(self._calm_seconds, self._calm)

    def _calm(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, self._give_back)


def trimmer() -> Callable[[], object]:
    """glibc's `malloc_trim`; nothing where the C library is another one."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: trim(ctypes.c_size_t(0))
