"""Pages of names: a merge of the rows of all indexes of a target, never touching payloads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from typing import cast

import lmdb

from shoal_core.errors import InvalidArgument
from shoal_core.objects import Bucket, ListPage, ListQuery, ObjectInfo
from shoal_core.paging import share
from shoal_store.folding import after_prefix, common_prefix, first_wanted
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES, NAME_BYTES_MAX
from shoal_store.leaf_pages import Keys
from shoal_store.listed import ETAGS, SIZES, Row, listed, partly_listed, verify
from shoal_store.name_walk import NameWalk


def list_page(indexes: Sequence[Index], target: str, bucket: Bucket, query: ListQuery) -> ListPage:
    """Blocks while it reads: call it in a thread."""
    check_query(query)
    keys = wanted_keys(bucket, query)
    with ExitStack() as stack:
        walks = []
        for index in indexes:
            reading = stack.enter_context(index.read(buffers=False))
            transaction = cast("lmdb.Transaction[bytes]", reading)
            if not query.delimiter and query.limit >= AHEAD_ROWS_MIN:
                index.read_ahead(transaction, keys, rows=share(PAGES_AHEAD * query.limit, len(indexes)))
            walks.append(NameWalk(index, transaction, bucket, query, f"t[{target}]:{index.mountpath_id}"))
            stack.callback(walks[-1].close)
        return Merge(walks, query).page()


def wanted_keys(bucket: Bucket, query: ListQuery) -> Keys:
    """Of the rows that may be on the page. No UTF-8 has a byte 255, so it is behind all with the prefix."""
    start, prefix = first_wanted(query)[:NAME_BYTES_MAX], query.prefix.encode()[:NAME_BYTES_MAX]
    return Keys(bucket.id + start, bucket.id + prefix + b"\xff")


def check_query(query: ListQuery) -> None:
    if query.limit < 1:
        raise InvalidArgument(f"a page of {query.limit} names cannot be listed: ask for 1 or more")
    try:
        f"{query.prefix}{query.delimiter}{query.start_after}".encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("prefix, delimiter and start of a listing must be valid UTF-8") from error


ROUND_ROWS = 1000
"""One call into C decodes so many, and all other threads of the process wait for it: about half a millisecond."""


AHEAD_ROWS_MIN = 100
"""Fewer are on some leaves, for which asking ahead costs more than it brings. With a delimiter nobody knows which."""
PAGES_AHEAD = 2
"""The page itself and the next, which comes from the disk while this one is made."""


class Merge:
    """One page out of several walks, in rounds: each takes the rows up to where the shortest batch ends, since behind
    it that walk may have a name in between."""

    def __init__(self, walks: Sequence[NameWalk], query: ListQuery) -> None:
        self._walks = walks
        self._start = first_wanted(query)
        self._prefix = query.prefix.encode()
        self._delimiter = query.delimiter.encode()
        self._room = query.limit
        self._detail = query.detail
        self._elsewhere: dict[bytes, str] = {}
        """Where rows of this round lie that are not of the first walk."""
        self._entries: list[ObjectInfo] = []
        self._prefixes: list[str] = []
        self._last = ""

    def page(self) -> ListPage:
        self._seek(self._start)
        more = False
        while not more and (rows := self._round()):
            more = self._show(rows) < len(rows)
        return ListPage(tuple(self._entries), tuple(self._prefixes), self._last if more else "")

    def _seek(self, start: bytes) -> None:
        for walk in self._walks:
            walk.seek(start)

    def _round(self) -> list[Row]:
        """The next rows of all walks, in order. One more than there is room for says whether the page is the last."""
        wanted = share(min(self._room + 1, ROUND_ROWS), len(self._walks))
        for walk in self._walks:
            walk.fill(wanted)
        last = min((walk.rows[-1] for walk in self._walks if not walk.ended), default=None)
        rows = self._walks[0].take(last)
        self._elsewhere.clear()
        for walk in self._walks[1:]:
            taken = walk.take(last)
            if self._detail == "all":
                self._elsewhere.update(dict.fromkeys([key for key, _ in taken], walk.location))
            rows += taken
        rows.sort()
        return rows

    def _show(self, rows: Sequence[Row]) -> int:
        """Put the rows on the page. How many of them were used up: less than all when it is full."""
        number = 0
        while self._room and number < len(rows):
            folded = self._first_folded(rows, number)
            number += self._show_names(rows[number : min(folded, number + self._room)])
            if number == folded < len(rows) and self._room:
                number = self._show_prefix(rows, folded)
        return number

    def _first_folded(self, rows: Sequence[Row], start: int) -> int:
        if not self._delimiter:
            return len(rows)
        delimiter, cut = self._delimiter, BUCKET_ID_BYTES + len(self._prefix)
        return next((n for n in range(start, len(rows)) if rows[n][0].find(delimiter, cut) >= 0), len(rows))

    def _show_names(self, rows: Sequence[Row]) -> int:
        if rows:
            infos = self._listed(rows)
            self._entries += infos
            self._last = infos[-1].name
            self._room -= len(rows)
        return len(rows)

    def _listed(self, rows: Sequence[Row]) -> list[ObjectInfo]:
        match self._detail:
            case "size":
                return partly_listed(rows, SIZES)
            case "etag":
                return partly_listed(rows, ETAGS)
            case "all":
                return listed(rows, self._locations(rows))

    def _locations(self, rows: Sequence[Row]) -> list[str]:
        location_of, here = self._elsewhere.get, self._walks[0].location
        return [location_of(key, here) for key, _ in rows]

    def _show_prefix(self, rows: Sequence[Row], number: int) -> int:
        """Of the row with this number. Returns that of the next row which is not folded into the same."""
        verify(rows[number])
        name = rows[number][0][BUCKET_ID_BYTES:]
        common = common_prefix(name, self._prefix, delimiter=self._delimiter)
        self._prefixes.append(common.decode())
        self._last = self._prefixes[-1]
        self._room -= 1
        behind = after_prefix(common)
        number = bisect_left(rows, (rows[number][0][:BUCKET_ID_BYTES] + behind, b""), number)
        if number == len(rows):
            self._seek(behind)
        return number
