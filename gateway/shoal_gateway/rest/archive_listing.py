"""Listings that look into archives (list flag ARCH_DIR): each archive is followed by the files in it.

They stand in the order of the objects, and within an archive in that of the members' names. That is not the order of
all names together (`a.tar.old` comes between `a.tar` and `a.tar/x`), so a token here is the object's name, then after a
NUL, which no name of an object can hold, the member's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from shoal_archive.archives import Archives
from shoal_archive.formats import format_of_name
from shoal_archive.index import plain
from shoal_archive.selecting import printable
from shoal_archive.tar_reading import Member
from shoal_core.errors import InvalidArgument, ObjectNotFound
from shoal_core.objects import Bucket, ListPage, ListQuery, ObjectInfo, ObjectStore
from shoal_core.telemetry import get_logger

OBJECTS_AT_ONCE = 100
TOKEN_SEPARATOR = "\x00"


class Lister:
    """One page. `entries_max` counts objects and members alike."""

    def __init__(self, store: ObjectStore, archives: Archives, bucket: Bucket, *, entries_max: int) -> None:
        self._store = store
        self._archives = archives
        self._bucket = bucket
        self._room = entries_max

    async def page(
        self,
        query: ListQuery,
        *,
        show: Callable[[ObjectInfo, bool], None],
        show_member: Callable[[ObjectInfo, str, int], None],
        show_folder: Callable[[str], None],
    ) -> str:
        """Shows what is on the page, and gives the token of the next one; "" at the end."""
        last = query.start_after
        async for part, more in self._parts(query):
            for prefix in part.prefixes:
                show_folder(prefix)
            for info in part.entries:
                after = member_after(query.start_after, info.name)
                members = await self._members(info)
                if after is None:
                    if not self._room:
                        return last
                    show(info, members is not None)
                    self._room, last = self._room - 1, f"{info.name}{TOKEN_SEPARATOR if members else ''}"
                names = sorted((plain(printable(member.name)), member.size) for member in members or ())
                for name, size in names[bisect_right(names, after or "", key=lambda each: each[0]) :]:
                    if not self._room:
                        return last
                    show_member(info, name, size)
                    self._room, last = self._room - 1, f"{info.name}{TOKEN_SEPARATOR}{name}"
            if not more:
                return ""
            last = part.next_after
            if not self._room:
                return last
        return ""

    async def _parts(self, query: ListQuery) -> AsyncIterator[tuple[ListPage, bool]]:
        """Pages of objects; first the archive in the middle of which the page before ended."""
        name, separator, _ = query.start_after.partition(TOKEN_SEPARATOR)
        if separator:
            try:
                info = await self._store.head(self._bucket, name)
                yield ListPage((info,), (), name), True
            except ObjectNotFound:
                """Deleted meanwhile: on with what follows."""
        after = name
        while True:
            some = replace(query, start_after=after, limit=min(OBJECTS_AT_ONCE, query.limit))
            page = await self._store.list(self._bucket, some)
            yield page, bool(page.next_after)
            if not page.next_after:
                return
            after = page.next_after

    async def _members(self, info: ObjectInfo) -> list[Member] | None:
        if format_of_name(info.name) is None:
            return None
        try:
            return (await self._archives.members(self._bucket, info.name))[1]
        except (InvalidArgument, ObjectNotFound) as error:
            # It is listed without the mark of an archive, so nobody takes it for an empty one.
            get_logger().warning("archive-not-listed", object=info.name, reason=error.message)
            return None


def member_after(token: str, name: str) -> str | None:
    """The member of this object at which the page before ended; None when it was not in this object."""
    object_name, separator, member = token.partition(TOKEN_SEPARATOR)
    return member if separator and object_name == name else None
