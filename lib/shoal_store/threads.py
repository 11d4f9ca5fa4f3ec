"""Blocking work beside the event loop, waited for to its end even when its caller is cancelled.

A thread cannot be stopped. If a cancelled caller went on at once, it would clean up files that the thread is still
writing, or close a descriptor that the thread is still reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
    """As `asyncio.to_thread`, but nothing runs any more when this returns or raises, be it CancelledError."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise
