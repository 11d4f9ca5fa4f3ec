"""Freed memory is used again, and goes back when all work that needed it is over, not while some goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from shoal_core.freed_memory import FreedMemory, trimmer

MESSAGES = """
import resource
from shoal_core.freed_memory import keep_for_next
keep_for_next()
def stream():
    for _ in range(100):
        message = b"x" * (1 << 20)
        copy = bytes(bytearray(message))
stream()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
stream()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


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


def test_the_messages_of_a_stream_use_the_memory_of_those_before() -> None:
    """300 MiB are 76,800 pages."""
    faults = int(subprocess.check_output([sys.executable, "-c", MESSAGES]))
    assert faults < 5_000
