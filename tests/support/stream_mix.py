"""Mixed gRPC streams through one client: whole, in part, and cancelled at any moment; every body is verified."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from model.bodies import in_pieces
from model.histories import body_of
from shoal_client.batch import BatchItem
from shoal_client.client import ShoalClient
from shoal_core.errors import ObjectNotFound
from shoal_core.objects import PutRequest

NAMES = [f"{folder}/{number:02}" for folder in "abc" for number in range(20)]
SIZES = (100, 16_000, 60_000, 400_000, 2_500_000)
WEIGHTS = (8, 4, 4, 2, 1)
BATCH_ITEMS = 40
TURNS_MAX = 150
"""Of the event loop, after which a call is cancelled."""
CALL_SECONDS_MAX = 60.0


@dataclass
class StreamMix:
    client: ShoalClient
    bucket: str
    chance: random.Random
    pause_seconds: float = 0.0
    """Of each task between two calls."""
    counts: Counter[str] = field(default_factory=Counter)

    async def run(self, over: Callable[[], bool], *, tasks: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(self._go_on(over))

    async def fill(self) -> None:
        for name in NAMES:
            await self._put(name, self._size())

    async def _go_on(self, over: Callable[[], bool]) -> None:
        while not over():
            work = self.chance.choices(
                (self._get, self._get_range, self._put_any, self._list, self._batch), (8, 4, 4, 2, 2)
            )[0]
            cancelled = self.chance.random() < 0.4
            async with asyncio.timeout(CALL_SECONDS_MAX):
                await (self._cancelled(work()) if cancelled else work())
            self.counts[f"{work.__name__.strip('_')}{' cancelled' if cancelled else ''}"] += 1
            await asyncio.sleep(self.pause_seconds * self.chance.uniform(0.5, 1.5))

    async def _cancelled(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        for _ in range(self.chance.randrange(TURNS_MAX)):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _get(self) -> None:
        body = await self.client.bucket(self.bucket).get(self._name())
        assert body == body_of(len(body)), f"{len(body)} bytes are torn"

    async def _get_range(self) -> None:
        """Left after some pieces."""
        offset, pieces_max = self.chance.randrange(90), self.chance.randrange(1, 4)
        async with await self.client.bucket(self.bucket).open(self._name(), offset=offset) as body:
            async for _ in body.chunks():
                if not (pieces_max := pieces_max - 1):
                    return

    async def _put_any(self) -> None:
        await self._put(self._name(), self._size())

    async def _put(self, name: str, size: int) -> None:
        bucket = self.client.bucket(self.bucket)
        resolved = await self.client.resolve(bucket.reference)
        await self.client.objects.put(resolved, PutRequest(name, size), in_pieces(body_of(size)))

    async def _list(self) -> None:
        seen = [info.name async for info in self.client.bucket(self.bucket).list(self._name()[:2])]
        assert seen == sorted(seen)

    async def _batch(self) -> None:
        names = [self._name() for _ in range(BATCH_ITEMS)]
        taken = self.chance.choice((5, BATCH_ITEMS))
        async with aclosing(
            self.client.read_batch([BatchItem(self.bucket, name) for name in names])
        ) as results:
            async for result in results:
                assert result.error is None or isinstance(result.error, ObjectNotFound), result.error
                assert result.error or result.data == body_of(len(result.data))
                if not (taken := taken - 1):
                    return

    def _name(self) -> str:
        return self.chance.choice(NAMES)

    def _size(self) -> int:
        return self.chance.choices(SIZES, WEIGHTS)[0] + self.chance.randrange(1000)
