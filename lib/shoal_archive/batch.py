"""Many items, read beside each other and given in the order they were asked for: the inside of GetBatch.

What is at hand is taken at once; the rest is fetched a few at a time, and only so far ahead that memory stays
bounded: WINDOW_ITEMS items, small ones held as bytes, others as open bodies that are read when their turn comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from shoal_archive.archives import Archives, exact
from shoal_core.errors import InvalidArgument, RangeNotSatisfiable, ShoalError
from shoal_core.objects import BodyBytes, Bucket, ObjectStore, RangeRequest

WINDOW_ITEMS = 64
FETCHES_MAX = 16
"""Items that are being fetched at the same time."""
HELD_BYTES_MAX = 128 << 10
"""Of an item that is held as bytes until its turn comes. WINDOW_ITEMS of them, 8 MiB, are the most a batch holds."""
AT_HAND_BYTES = 512 << 10
"""Taken at once and given away before more is taken: so much fits into a processor's cache on its way out."""
AT_HAND_ITEMS = 256
LOOKS_MAX = 1000
"""Looks at what is here whether it exists, before others get their turn."""
HEADS_MAX = 64
"""At the same time, for objects that are looked for one by one."""
TO_THE_END = -1


class Item(msgspec.Struct, frozen=True, gc=False):
    """An object, a member of an archive, or a range of either. No dataclass: a thousand are made for one answer."""

    bucket: Bucket
    name: str
    member: str = ""
    start: int = 0
    length: int = 0
    """0: all of it (and `start` is 0); TO_THE_END; or bytes, all of which must exist."""

    def __post_init__(self) -> None:
        if (self.start or self.length) and (
            self.start < 0 or self.length < TO_THE_END or (self.start and not self.length)
        ):
            raise InvalidArgument(
                f"range (start {self.start}, length {self.length}) of {self.name!r} is none: start is 0 or more, "
                "length 1 or more, or -1 for everything from start"
            )


class Body(Protocol):
    """Bytes that are read when their turn comes."""

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Entry(msgspec.Struct):
    """What became of an item: `data`, or `body` for large ones, or `error`."""

    size: int
    data: BodyBytes = b""
    body: Body | None = None
    error: ShoalError | None = None

    @staticmethod
    def failed(error: ShoalError) -> Entry:
        return Entry(0, error=error)

    async def chunks(self, what: str) -> AsyncIterator[bytes]:
        """The pieces of `body`, which is closed afterwards."""
        assert self.body is not None
        async for data in exact(self.body.chunks(), self.size, what):
            yield data
        await self.close()

    async def close(self) -> None:
        """Any number of times."""
        body, self.body = self.body, None
        if body is not None:
            await body.close()


class BatchAtHand(Protocol):
    """What of one batch is here. Items go by their numbers, from `start` on and before `stop`."""

    def entries(self, start: int, stop: int) -> Sequence[Entry]:
        """Of the first ones: as many as can be had without waiting, and not many more bytes than AT_HAND_BYTES. None
        when the first one has to be waited for."""
        ...

    def unknown(self, start: int, stop: int) -> Sequence[int]:
        """Those of which nobody here can tell at once that their objects exist."""
        ...


AtHand = Callable[[Sequence[Item]], BatchAtHand]


class NothingAtHand:
    """Of a process without disks."""

    def __init__(self, _items: Sequence[Item]) -> None:
        """Nothing of them is here."""

    def entries(self, _start: int, _stop: int) -> Sequence[Entry]:
        return ()

    def unknown(self, start: int, stop: int) -> Sequence[int]:
        return range(start, stop)


class Streams(Protocol):
    """One batch's items as their owners stream them."""

    async def entry(self, number: int) -> Entry | None:
        """Of the item with this number; called in their order. None for items that no owner streams (any more)."""
        ...

    async def require(self, numbers: Sequence[int]) -> Sequence[int]:
        """Asks the owners of these items whether the objects exist, many at a time; those that no owner has answered
        for. Raises ObjectNotFound."""
        ...

    async def close(self) -> None: ...


Elsewhere = Callable[[Sequence[Item]], Streams | None]
"""Begins the streams of a batch; None when nothing of it is elsewhere."""


Ahead = Callable[[int], int]
"""How many of at most so many may be held before they are wanted, as `shoal_core.load.Load.ahead` says it."""


def all_of_them(most: int) -> int:
    """Of a process that does not look at its load."""
    return most


def nobody_else(_items: Sequence[Item]) -> None:
    """Of a process that has all objects itself, or asks for them one by one."""


class BatchReader:
    """Reads batches from `store`; the members of archives through `archives`."""

    def __init__(
        self,
        store: ObjectStore,
        archives: Archives,
        *,
        at_hand: AtHand = NothingAtHand,
        elsewhere: Elsewhere = nobody_else,
        ahead: Ahead = all_of_them,
    ) -> None:
        self._sources = Sources(store, archives)
        self._at_hand = at_hand
        self._elsewhere = elsewhere
        self._ahead = ahead

    def begin(self, items: Sequence[Item]) -> BegunBatch:
        return BegunBatch(
            items, self._sources, self._at_hand(items), streams=self._elsewhere(items), ahead=self._ahead
        )


class BegunBatch:
    """One batch: `require` when all must be there, then `entries`, once."""

    def __init__(
        self,
        items: Sequence[Item],
        sources: Sources,
        at_hand: BatchAtHand,
        *,
        streams: Streams | None,
        ahead: Ahead,
    ) -> None:
        self._items = items
        self._sources = sources
        self._at_hand = at_hand
        self._streams = streams
        self._ahead = ahead
        self._turns = asyncio.Semaphore(ahead(FETCHES_MAX))

    async def require(self) -> None:
        """Before anything is read. Raises ObjectNotFound if one of the objects does not exist; members may not."""
        unknown: list[int] = []
        for begin in range(0, len(self._items), LOOKS_MAX):
            unknown += self._at_hand.unknown(begin, min(begin + LOOKS_MAX, len(self._items)))
            await asyncio.sleep(0)
        if self._streams is not None and unknown:
            unknown = list(await self._streams.require(unknown))
        objects = {(item.bucket.id, item.name): item for item in map(self._items.__getitem__, unknown)}
        left = list(objects.values())
        for begin in range(0, len(left), HEADS_MAX):
            await asyncio.gather(*map(self._sources.require, left[begin : begin + HEADS_MAX]))

    async def entries(self) -> AsyncGenerator[list[Entry], None]:
        """Entries in the order of the items, as many at a time as are there. Bodies are closed with the next ones."""
        given: list[Entry] = []
        window = deque[Entry | asyncio.Task[Entry]]()
        position = 0
        try:
            while position < len(self._items) or window:
                if not window and (given := list(self._at_hand.entries(position, position + AT_HAND_ITEMS))):
                    position += len(given)
                else:
                    position = self._read_ahead(position, window)
                    given = await first_ones(window)
                yield given
                await close_all(given)
        finally:
            await close_all(given)
            await drop(window)
            if self._streams is not None:
                await self._streams.close()

    def _read_ahead(self, position: int, window: deque[Entry | asyncio.Task[Entry]]) -> int:
        """Fills the window; the position of what follows it. What is at hand between others is taken with them."""
        while position < len(self._items) and (room := self._ahead(WINDOW_ITEMS) - len(window)) > 0:
            found = self._at_hand.entries(position, position + room) if window else ()
            window.extend(found)
            position += len(found)
            if not found:
                window.append(asyncio.create_task(self._fetched(position)))
                position += 1
        return position

    async def _fetched(self, number: int) -> Entry:
        # Tasks take their turns in the order in which they were made, so an owner's stream is read in its order.
        async with self._turns:
            streams = self._streams
            if streams is not None and (entry := await streams.entry(number)) is not None:
                return entry
            try:
                return await self._sources.fetch(self._items[number])
            except ShoalError as error:
                return Entry.failed(error)


class Sources:
    """Items one by one."""

    def __init__(self, store: ObjectStore, archives: Archives) -> None:
        self._store = store
        self._archives = archives

    async def require(self, item: Item) -> None:
        await self._store.head(item.bucket, item.name)

    async def fetch(self, item: Item) -> Entry:
        size, body = await (self._open_member(item) if item.member else self._open_object(item))
        if size > HELD_BYTES_MAX:
            return Entry(size, body=body)
        try:
            data = b"".join([piece async for piece in exact(body.chunks(), size, item.name)])
        finally:
            await body.close()
        return Entry(size, data)

    async def _open_object(self, item: Item) -> tuple[int, Body]:
        body = await self._store.open(item.bucket, item.name, range=range_request(item))
        size = body.info.size if body.range is None else body.range.length
        if item.length > 0 and size != item.length:
            await body.close()
            raise beyond(item, body.info.size)
        return size, body

    async def _open_member(self, item: Item) -> tuple[int, Body]:
        member = await self._archives.open_member(item.bucket, item.name, item.member)
        if not item.length:
            return member.size, member
        left = member.size - item.start
        size = left if item.length == TO_THE_END else item.length
        if size > left or left <= 0:
            await member.close()
            raise beyond(item, member.size)
        return size, Slice(member, item.start, size)


class Slice:
    """A range of a body that can only be read from its beginning."""

    def __init__(self, body: Body, start: int, length: int) -> None:
        self._body = body
        self._start = start
        self._length = length

    async def chunks(self) -> AsyncIterator[bytes]:
        skip, left = self._start, self._length
        async for piece in self._body.chunks():
            wanted = piece[skip : skip + left]
            skip = max(skip - len(piece), 0)
            left -= len(wanted)
            if wanted:
                yield wanted
            if not left:
                return

    async def close(self) -> None:
        await self._body.close()


def range_request(item: Item) -> RangeRequest | None:
    if not item.length:
        return None
    return RangeRequest(item.start, None if item.length == TO_THE_END else item.start + item.length - 1)


def beyond(item: Item, size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"range (start {item.start}, length {item.length}) does not lie within the {size} bytes of "
        f"{item.name}{f'/{item.member}' if item.member else ''}",
        size=str(size),
    )


async def first_ones(window: deque[Entry | asyncio.Task[Entry]]) -> list[Entry]:
    """All at the left end that are done; at least one, which is waited for."""
    found: list[Entry] = []
    while window:
        first = window[0]
        if isinstance(first, Entry):
            found.append(first)
        elif first.done() or not found:
            found.append(await first)
        else:
            break
        window.popleft()
    return found


async def close_all(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.body is not None:
            await entry.close()


async def drop(window: deque[Entry | asyncio.Task[Entry]]) -> None:
    """Of a reader that was given up."""
    for each in window:
        if isinstance(each, asyncio.Task):
            each.cancel()
    for each in window:
        entry = each if isinstance(each, Entry) else None
        if isinstance(each, asyncio.Task):
            with suppress(asyncio.CancelledError):
                entry = await each
        if entry is not None:
            await entry.close()
