"""Waiting for operations of gRPC's library, which must not be cancelled themselves.

`grpc.aio` gives back what an operation holds (the message that leaves, or the one that came) after it has waited for
it. A task that is cancelled in the meantime leaves that behind for good, up to a MiB each time. So an operation gets a
task of its own, and whoever is cancelled leaves it to end, which it does once its call is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(operation: Awaitable[T]) -> T:
    """What `operation` returns or raises. Cancelled, it goes on unseen: cancel its call soon."""
    running = asyncio.ensure_future(operation)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        running.add_done_callback(look_at)
        raise


def look_at(ended: asyncio.Future[T]) -> None:
    """Nobody else will, and asyncio complains of errors that nobody saw."""
    if not ended.cancelled():
        ended.exception()
