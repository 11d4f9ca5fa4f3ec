"""Whether each page of an index lies where its head says, and is in use once or free once.

A disk may have written a page to the place of another. LMDB takes a page for what the page above it says it is, and
frees the one whose number stands in its head. So it may give away a page that is in use; when it notices, it ends the
process, again after each start. Format: LMDB 0.9, `MDB_meta`, `MDB_page` and `MDB_node` in `mdb.c`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from shoal_store.leaf_pages import (
    BRANCH,
    FLAGS,
    HEAD_BYTES,
    NODE,
    TABLE,
    child_at,
    nodes,
    opened,
    table_of,
)

METAS = 2
"""The first pages; each says where a state of the index begins."""
META = struct.Struct("<40x48s48sQQ")
"""Two tables, that of free pages and the main one; the number of the last page; the transaction."""
NUMBER = struct.Struct("<Q")
LEAF, OVERFLOW = 0x02, 0x04
"""A page's flags, as BRANCH."""
LENGTH = struct.Struct("<12xI")
"""Of an overflow page: how many it is in all."""
BIG, IS_TABLE = 0x01, 0x02
"""Flags of a leaf's node: the value lies in pages of its own, or is a table."""


def damaged_page(file: Path, *, page_bytes: int) -> int | None:
    """The number of a page of the newest state that is not as it should be; None if there is no such page. Blocks,
    and takes a byte of memory a page. Nobody may write meanwhile."""
    with opened(file) as descriptor:
        metas = [META.unpack(os.pread(descriptor, META.size, each * page_bytes)) for each in range(METAS)]
        free, main, last, _ = max(metas, key=lambda meta: meta[-1])
        walk = PageWalk(descriptor, page_bytes, last)
        found = walk.found(free, of_free_pages=True)
        return walk.found(main, of_free_pages=False) if found is None else found


class PageWalk:
    """Marks each page that it meets."""

    def __init__(self, descriptor: int, page_bytes: int, last: int) -> None:
        self._descriptor = descriptor
        self._page_bytes = page_bytes
        self._met = bytearray(last + 1)
        self._met[:METAS] = bytes([True] * METAS)

    def found(self, value: bytes, *, of_free_pages: bool) -> int | None:
        """The first damaged page of a table and of those in it."""
        waiting = roots(value)
        while waiting:
            number = waiting.pop()
            page = self._page(number)
            try:
                if page is None or not self._mark(number, length_of(page)):
                    return number
                waiting += below(page)
                if of_free_pages and not all(self._mark(each, 1) for each in self._listed(page)):
                    return number
            except struct.error:
                return number
        return None

    def _page(self, number: int) -> bytes | None:
        """None for one that says it is another."""
        if number >= len(self._met):
            return None
        page = os.pread(self._descriptor, self._page_bytes, number * self._page_bytes)
        return page if page[: NUMBER.size] == NUMBER.pack(number) else None

    def _mark(self, first: int, length: int) -> bool:
        """Whether all of them are there, and none was met before."""
        known = self._met[first : first + length]
        self._met[first : first + length] = bytes([True] * len(known))
        return len(known) == length and not any(known)

    def _listed(self, page: bytes) -> Iterator[int]:
        """Numbers in a leaf of the table of free pages: of each value the first one is how many follow."""
        if not is_leaf(page):
            return
        for at, flags, value_bytes in values(page):
            value = page[at : at + value_bytes]
            if flags & BIG:
                (number,) = NUMBER.unpack_from(page, at)
                begin = number * self._page_bytes + HEAD_BYTES
                value = os.pread(self._descriptor, value_bytes, begin)
            yield from [number for (number,) in NUMBER.iter_unpack(value)][1:]


def roots(value: bytes) -> list[int]:
    table = table_of(value)
    return [] if table is None else [table.root]


def is_leaf(page: bytes) -> bool:
    return bool(FLAGS.unpack_from(page)[0] & LEAF)


def length_of(page: bytes) -> int:
    """In pages."""
    return LENGTH.unpack_from(page)[0] if FLAGS.unpack_from(page)[0] & OVERFLOW else 1


def below(page: bytes) -> Iterator[int]:
    """The numbers of the pages that this one names."""
    if is_leaf(page):
        for at, flags, _ in values(page):
            if flags & BIG:
                yield from NUMBER.unpack_from(page, at)
            elif flags & IS_TABLE:
                yield from roots(page[at : at + TABLE.size])
    elif FLAGS.unpack_from(page)[0] & BRANCH:
        for at in nodes(page):
            yield child_at(page, at)


def values(page: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each node of a leaf: where its value is, its flags, and how many bytes the value has."""
    for at in nodes(page):
        value_bytes, flags, key_bytes = NODE.unpack_from(page, at)
        yield at + NODE.size + key_bytes, flags, value_bytes
