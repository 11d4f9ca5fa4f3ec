"""One object, read by several workers at once: each takes a range, over connections of its own.

All ranges are of one version: an object that is overwritten meanwhile is an error, never a mixture.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from shoal_client.shared_buffer import SharedBuffer
from shoal_core.errors import DataCorrupt, PreconditionFailed
from shoal_core.objects import Bucket, ByteRange, ObjectInfo, ObjectStore, Preconditions, RangeRequest

RANGE_BYTES = 8 << 20
RANGE_BYTES_MAX = 1 << 30
WORKERS_MAX = 64
RANGE_TASK = "read a range"


class ParallelObject:
    """One version of an object, as it was when this was made. Bytes are verified as they come, frame by frame."""

    def __init__(
        self,
        lane: Callable[[int], ObjectStore],
        bucket: Bucket,
        info: ObjectInfo,
        *,
        workers: int,
        range_bytes: int,
    ) -> None:
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"workers is {workers}; use 1 to {WORKERS_MAX}")
        if not 1 <= range_bytes <= RANGE_BYTES_MAX:
            raise ValueError(f"range_bytes is {range_bytes}; use 1 to {RANGE_BYTES_MAX}")
        self._lane = lane
        self._bucket = bucket
        self.info = info
        self.workers = workers
        self.range_bytes = range_bytes

    def ranges(self) -> Iterator[ByteRange]:
        """All of the object, in order."""
        for start in range(0, self.info.size, self.range_bytes):
            yield ByteRange(start, min(self.range_bytes, self.info.size - start))

    async def chunks(self) -> AsyncGenerator[memoryview, None]:
        """The bytes in order, each piece valid until the next is asked for. Takes `workers` x `range_bytes` of memory.

        Raises PreconditionFailed when the object is overwritten meanwhile, ObjectNotFound when it is removed.
        """
        ranges = self.ranges()
        size = min(self.range_bytes, self.info.size)
        reading: deque[tuple[asyncio.Task[None], memoryview]] = deque()

        def begin(lane: int, slot: memoryview) -> None:
            if (wanted := next(ranges, None)) is not None:
                memory = slot[: wanted.length]
                task = asyncio.create_task(self.read(wanted, memory, lane=lane), name=RANGE_TASK)
                reading.append((task, memory))

        # A ring: the slot that was read last by the caller is the next to be filled.
        slots = [
            memoryview(bytearray(size)) for _ in range(min(self.workers, -(-self.info.size // (size or 1))))
        ]
        try:
            for lane, slot in enumerate(slots):
                begin(lane, slot)
            turn = 0
            while reading:
                task, memory = reading[0]
                await task
                reading.popleft()
                yield memory.toreadonly()
                begin(turn, slots[turn])
                turn = (turn + 1) % len(slots)
        finally:
            await ended([task for task, _ in reading])

    async def read_all(self, *, fallback: bool = False) -> SharedBuffer:
        """The whole object in shared memory, which the caller closes. Every worker writes to its final place.

        Raises OutOfSpace when /dev/shm has too little room, unless ordinary memory will do as `fallback`.
        """
        buffer = await asyncio.to_thread(SharedBuffer.allocate, self.info.size, fallback=fallback)
        try:
            await self.read_into(buffer.memory)
        except BaseException:
            buffer.close()
            raise
        return buffer

    async def read_into(self, memory: memoryview) -> None:
        """Fill `memory`, of at least the object's size."""

        async def read(lane: int, wanted: ByteRange) -> None:
            with memory[wanted.offset : wanted.offset + wanted.length] as place:
                await self.read(wanted, place, lane=lane)

        await by_workers(self.workers, self.ranges(), read)

    async def read(self, wanted: ByteRange, memory: memoryview, *, lane: int) -> None:
        """One range of this version, through the connections of a lane."""
        request = RangeRequest(wanted.offset, wanted.offset + wanted.length - 1)
        try:
            body = await self._lane(lane).open(
                self._bucket,
                self.info.name,
                range=request,
                preconditions=Preconditions(if_version=self.info.version),
            )
        except PreconditionFailed as error:
            raise PreconditionFailed(
                f"{self._bucket.reference}/{self.info.name} was overwritten while it was read: read it again",
                condition="if_version",
            ) from error
        try:
            done = 0
            async for piece in body.chunks():
                memory[done : done + len(piece)] = piece
                done += len(piece)
        finally:
            await body.close()
        if done != wanted.length:
            raise DataCorrupt(
                f"{self.info.name} gave {done} bytes of a range of {wanted.length}; read it again"
            )


async def by_workers(
    workers: int, ranges: Iterator[ByteRange], action: Callable[[int, ByteRange], Awaitable[None]]
) -> None:
    """Take the ranges one by one with so many tasks, each with its number; the first failure ends all."""

    async def work(number: int) -> None:
        for wanted in ranges:
            await action(number, wanted)

    tasks = [asyncio.create_task(work(number)) for number in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        await ended(tasks)


async def ended(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel, and wait until nobody writes any more into memory that goes away."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
