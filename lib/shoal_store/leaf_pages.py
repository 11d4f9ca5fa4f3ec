"""Where the rows of a table lie in the file of an index, so that a listing's pages come from the disk many at a time.

LMDB's cursor meets its leaf pages one after the other, and the next read begins when the one before has ended. Their
numbers stand in the branch pages above them, which are few; from there the kernel is asked for all that a page of names
will need. It is advice: whatever is wrong with it, the cursor finds its way, only later.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

TABLE = struct.Struct("<IHHQQQQQ")
"""What LMDB keeps of a table under the table's name (`MDB_db`)."""
HEAD_BYTES = 16
"""Of a page; the offsets of its nodes follow."""
NODE = struct.Struct("<IHH")
"""Of a branch: the child's number in the first and the second field, the length of the key in the last."""
BRANCH = 0x01
FLAGS = struct.Struct("<10xHH")
"""And where the offsets end."""
PROBES = 16
"""So many of the pages, evenly spread, tell whether any of them has to be fetched."""


class Keys(NamedTuple):
    start: bytes
    end: bytes
    """The first one that is not among them."""


class Table(NamedTuple):
    root: int
    depth: int
    """1: the root is the only leaf."""
    leaves: int
    rows: int


def table_of(value: bytes | memoryview | None) -> Table | None:
    """Of the value in the main table. None for one without rows, and for anything that is no table."""
    if value is None or len(value) != TABLE.size:
        return None
    _, _, depth, _, leaves, _, rows, root = TABLE.unpack(value)
    return Table(root, depth, leaves, rows) if rows and leaves else None


def read_ahead(file: Path, table: Table, keys: Keys, *, rows: int, page_bytes: int) -> None:
    """Begin to read the leaves of about so many rows, the first of these keys, unless they are in memory."""
    count = 1 + min(rows, table.rows) * table.leaves // table.rows
    with suppress(OSError, struct.error, IndexError), opened(file) as descriptor:
        pages = list(islice(leaves_of(descriptor, table, keys, page_bytes=page_bytes), count))
        if all(in_memory(descriptor, page * page_bytes) for page in pages[:: 1 + len(pages) // PROBES]):
            return
        for first, number in runs(pages):
            os.posix_fadvise(descriptor, first * page_bytes, number * page_bytes, os.POSIX_FADV_WILLNEED)


def leaves_of(descriptor: int, table: Table, keys: Keys, *, page_bytes: int) -> Iterator[int]:
    """The numbers of the table's leaves in which these keys would be, in their order."""

    def below(number: int, level: int) -> Iterator[int]:
        if level == 1:
            yield number
            return
        for child in children(os.pread(descriptor, page_bytes, number * page_bytes), keys):
            yield from below(child, level - 1)

    return below(table.root, table.depth)


def children(page: bytes, keys: Keys) -> Iterator[int]:
    """Of a branch page, those in which the keys would be."""
    if not FLAGS.unpack_from(page)[0] & BRANCH:
        return
    places = nodes(page)

    def key_at(number: int) -> bytes:
        at = places[number]
        length = NODE.unpack_from(page, at)[2]
        return page[at + NODE.size : at + NODE.size + length]

    # Each child has the keys from its own on; whatever the first one's says, all that come before the second.
    others = range(1, len(places))
    first, end = bisect_right(others, keys.start, key=key_at), bisect_left(others, keys.end, key=key_at)
    for at in places[first : end + 1]:
        yield child_at(page, at)


def child_at(page: bytes, at: int) -> int:
    """The number of the page that this node of a branch names."""
    low, high, _ = NODE.unpack_from(page, at)
    number: int = low | high << 32
    return number


def nodes(page: bytes) -> tuple[int, ...]:
    """Where they are. Raises struct.error for a head that cannot be."""
    lower = FLAGS.unpack_from(page)[1]
    return struct.unpack_from(f"<{(lower - HEAD_BYTES) // 2}H", page, HEAD_BYTES)


@contextmanager
def opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def in_memory(descriptor: int, offset: int) -> bool:
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True


def runs(pages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, how many) of pages that follow one another in the file as they do in the table."""
    first = number = 0
    for page in pages:
        if number and page == first + number:
            number += 1
            continue
        if number:
            yield first, number
        first, number = page, 1
    if number:
        yield first, number
