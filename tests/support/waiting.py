"""Waiting for what no event tells: a file, a clock, another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.01


async def eventually(holds: Callable[[], bool]) -> None:
    """Raises TimeoutError when it does not come true in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
