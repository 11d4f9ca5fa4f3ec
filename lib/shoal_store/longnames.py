"""Names that share their first 440 bytes: the index has them by their hashes, a listing wants them in order.

Such a group may be of any size, so a listing takes a batch at a time: one pass over the group finds the next names in
order, and of names that a delimiter folds into one common prefix only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Named = tuple[bytes, bytes]
"""A name and its sealed record."""


def first_names(
    names: Iterable[Named], *, folded: Callable[[bytes], bytes], limit: int
) -> tuple[Sequence[Named], bool]:
    """The first `limit` in order, of those that are folded alike the first only; and whether there are no more.

    Holds at most twice as many.
    """
    kept: dict[bytes, Named] = {}
    last = b""
    for name, value in names:
        shown = folded(name) or name
        if last and shown > last:
            continue
        if shown not in kept or name < kept[shown][0]:
            kept[shown] = (name, value)
        if len(kept) > 2 * limit:
            kept = dict(sorted(kept.items())[:limit])
            last = max(kept)
    in_order = [kept[shown] for shown in sorted(kept)]
    return in_order[:limit], not last and len(in_order) <= limit
