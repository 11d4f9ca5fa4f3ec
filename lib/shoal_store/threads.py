"""Blocking work beside the event loop, waited for to its end even when its caller is cancelled.

A thread cannot be stopped. If a cancelled caller went on at once, it would clean up files that the thread is still
writing, or close a descriptor that the thread is still reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
    """As `asyncio.to_thread`, but nothing runs any more when this returns or raises, be it CancelledError."""
    return await ended(begun(function, *arguments, **named))


def begun(function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> asyncio.Future[T]:
    """The call, under way in a thread. As `asyncio.to_thread`, without a task for each call."""
    context = copy_context()
    return asyncio.get_running_loop().run_in_executor(
        None, lambda: context.run(function, *arguments, **named)
    )


async def ended(work: asyncio.Future[T]) -> T:
    """The result of work in a thread that began before."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


class ThreadBeside:
    """One call at a time in a thread, while its caller prepares the next one."""

    def __init__(self) -> None:
        self._work: asyncio.Future[None] | None = None

    async def run(self, function: Callable[P, None], /, *arguments: P.args, **named: P.kwargs) -> None:
        """Begins the call when the one before has ended. Raises what that one raised."""
        await self.ended()
        self._work = begun(function, *arguments, **named)

    async def ended(self) -> None:
        """Raises what the call raised, once."""
        if self._work is not None:
            try:
                await ended(self._work)
            finally:
                self._work = None
