"""Which blocks of chunk files this process has verified lately, and so may serve without hashing them again."""

from __future__ import annotations

import time
from collections import OrderedDict

from shoal_store.chunkfile import BLOCK_BYTES

WINDOW_SECONDS = 24 * 3600.0
WINDOW_ENTRIES_MAX = 100_000


class VerifiedWindow:
    """Bounded, oldest out first. Knows blocks of BLOCK_BYTES only; others are verified at every read."""

    def __init__(self) -> None:
        self._verified: OrderedDict[tuple[bytes, int], float] = OrderedDict()

    def holds(self, file_id: bytes, block: int) -> bool:
        return self._verified.get((file_id, block), 0.0) > time.monotonic()

    def holds_range(self, file_id: bytes, offset: int, end: int) -> bool:
        """Whether every block that has one of these bytes is verified."""
        now, verified = time.monotonic(), self._verified
        for block in range(offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
            if verified.get((file_id, block), 0.0) <= now:
                return False
        return True

    def add(self, file_id: bytes, block: int, *, block_bytes: int) -> None:
        if block_bytes != BLOCK_BYTES:
            return
        self._verified[file_id, block] = time.monotonic() + WINDOW_SECONDS
        if len(self._verified) > WINDOW_ENTRIES_MAX:
            self._verified.popitem(last=False)
