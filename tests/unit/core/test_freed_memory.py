"""Freed memory goes back when all work that needed it is over, not while some goes on."""

from __future__ import annotations

import asyncio

from shoal_core.freed_memory import FreedMemory, trimmer


async def test_it_is_given_back_once_after_the_last_work() -> None:
    given = asyncio.Queue[None]()
    loop = asyncio.get_running_loop()
    memory = FreedMemory(lambda: loop.call_soon_threadsafe(given.put_nowait, None), calm_seconds=0.01)
    with memory.in_use():
        with memory.in_use():
            pass
        assert given.empty()
    with memory.in_use():
        """Comes before it was calm: the timer begins anew."""
    await asyncio.wait_for(given.get(), 30)
    assert given.empty()


def test_the_c_library_is_asked() -> None:
    trimmer()()
