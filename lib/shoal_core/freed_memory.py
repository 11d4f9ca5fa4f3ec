"""Memory that was freed: some is kept for the next body, much is given back once the work that needed it is over.

glibc gives the end of a heap back as soon as twice the largest buffer is free there, and asks the kernel for it again,
page by page, with the next message of a stream: a third of what a stream costs. What lies further inside it keeps for
as long as the process lives: after a storm of batches a hundred megabytes.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

KEPT_BYTES_MAX = 16 << 20
"""At the end of a heap; the messages of a few streams."""
HEAP_BYTES_MAX = 8 << 20
"""Larger buffers than this get, and give back, pages of their own; the largest message has half of it."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
CALM_SECONDS = 3.0
"""After the last work. To give back is cheap, but to take again is not, and work comes in bursts."""


def keep_for_next() -> None:
    """For the whole process. Nothing where the C library is not glibc."""
    with suppress(OSError, AttributeError):
        option = ctypes.CDLL(None).mallopt
        option(M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
        option(M_MMAP_THRESHOLD, HEAP_BYTES_MAX)


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
