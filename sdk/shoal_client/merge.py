"""One page of a bucket's listing out of the pages of all targets, each of which lists its own share only.

A target's page is complete up to its last item (its horizon); what other targets list beyond the lowest
horizon cannot be shown yet, because the slow one may still have a name in between.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from operator import attrgetter

from shoal_core.objects import ListPage, ListQuery, ObjectInfo
from shoal_core.paging import share

name_of = attrgetter("name")


async def page_of_all(
    ask: Callable[[ListQuery], Awaitable[Sequence[ListPage]]], targets: int, query: ListQuery
) -> ListPage:
    """`ask` has every target answer a query. They hold about as many names each, so each is asked for its share of the
    page first; only where that falls short (weights that differ, bad luck) for all that is missing."""
    if targets > 1:
        # Of two entries of a name the version tells which is current.
        query = replace(query, detail="all")
    part = min(query.limit, share(query.limit, targets))
    page = merged_page(await ask(replace(query, limit=part)), query)
    missing = query.limit - len(page.entries) - len(page.prefixes)
    if not missing or not page.next_after:
        return page
    rest_query = replace(query, limit=missing, start_after=page.next_after)
    rest = merged_page(await ask(rest_query), rest_query)
    return ListPage(page.entries + rest.entries, page.prefixes + rest.prefixes, rest.next_after)


def merged_page(pages: Sequence[ListPage], query: ListQuery) -> ListPage:
    """The first `query.limit` names and common prefixes. `pages` answer `query`, one from each target.

    Python orders strings by code point, which is the order of their UTF-8 bytes.
    """
    if len(pages) == 1:
        return pages[0]
    horizon = min((page.next_after for page in pages if page.next_after), default="")
    entries = newest_entries(sorted([entry for page in pages for entry in page.entries], key=name_of))
    names = [entry.name for entry in entries]
    prefixes = sorted({prefix for page in pages for prefix in page.prefixes})
    complete = (
        (bisect_right(names, horizon), bisect_right(prefixes, horizon))
        if horizon
        else (len(names), len(prefixes))
    )
    if sum(complete) > query.limit:
        horizon = sorted(names[: complete[0]] + prefixes[: complete[1]])[query.limit - 1]
        complete = bisect_right(names, horizon), bisect_right(prefixes, horizon)
    return ListPage(tuple(entries[: complete[0]]), tuple(prefixes[: complete[1]]), horizon)


def newest_entries(listed: Sequence[ObjectInfo]) -> Sequence[ObjectInfo]:
    """One of each name. While a slot moves both its owners may list it; the greater version is the current one."""
    if len({entry.name for entry in listed}) == len(listed):
        return listed
    entries: dict[str, ObjectInfo] = {}
    for entry in listed:
        known = entries.get(entry.name)
        if known is None or known.version < entry.version:
            entries[entry.name] = entry
    return list(entries.values())
