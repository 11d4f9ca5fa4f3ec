"""One page of a bucket's listing out of the pages of all targets, each of which lists its own share only.

A target's page is complete up to its last item (its horizon); what other targets list beyond the lowest
horizon cannot be shown yet, because the slow one may still have a name in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shoal_core.objects import ListPage, ListQuery, ObjectInfo


def merged_page(pages: Sequence[ListPage], query: ListQuery) -> ListPage:
    """The first `query.limit` names and common prefixes. `pages` answer `query`, one from each target.

    Python orders strings by code point, which is the order of their UTF-8 bytes.
    """
    if len(pages) == 1:
        return pages[0]
    horizons = [page.next_after for page in pages if page.next_after]
    horizon = min(horizons) if horizons else None
    entries = newest_entries(entry for page in pages for entry in page.entries)
    prefixes = {prefix for page in pages for prefix in page.prefixes}
    found = sorted({*entries, *prefixes})
    shown = [key for key in found if horizon is None or key <= horizon]
    taken = shown[: query.limit]
    next_after = taken[-1] if len(taken) < len(shown) else horizon or ""
    return ListPage(
        entries=tuple(entries[key] for key in taken if key in entries),
        prefixes=tuple(key for key in taken if key in prefixes),
        next_after=next_after,
    )


def newest_entries(listed: Iterable[ObjectInfo]) -> dict[str, ObjectInfo]:
    """By name. While a slot moves both its owners may list a name; the greater version is the current one."""
    entries: dict[str, ObjectInfo] = {}
    for entry in listed:
        known = entries.get(entry.name)
        if known is None or known.version < entry.version:
            entries[entry.name] = entry
    return entries
