"""A bounded crew: work on what an iterator yields, so many at a time, without reading far ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def each(items: AsyncIterator[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Returns when all is done. The first exception, of the iterator or of `work`, ends everything."""
    places = asyncio.Semaphore(at_once)

    async def worked(item: T) -> None:
        try:
            await work(item)
        finally:
            places.release()

    try:
        async with asyncio.TaskGroup() as group:
            async for item in items:
                await places.acquire()
                group.create_task(worked(item))
    except* Exception as failed:
        # One sentence is told to the user; the others are mostly the same trouble met by other workers.
        raise first_of(failed) from None


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
