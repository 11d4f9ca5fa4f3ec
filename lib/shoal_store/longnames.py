"""Names that share their first 440 bytes: the index has them by their hashes, a listing wants them in order.

Such a group may be of any size, so a listing takes a batch at a time: one pass over the group finds the next names in
order, and of names that a delimiter folds into one common prefix only the first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shoal_store.record import Record

Named = tuple[bytes, Record]
BATCH_NAMES = 1000
"""As many as a page usually has: a page then takes one pass."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What follows `start` in a group, in order."""

    group: bytes
    start: bytes
    names: Sequence[Named]
    whole: bool
    """Whether the group has no more than these."""

    def covers(self, group: bytes, start: bytes) -> bool:
        """Whether the first name of the group from `start` on is among these, if there is one."""
        if group != self.group or start < self.start:
            return False
        return self.whole or start <= self.names[-1][0]

    def following(self, start: bytes) -> Sequence[Named]:
        return self.names[bisect_left(self.names, start, key=lambda named: named[0]) :]


def first_names(
    names: Iterable[Named], *, folded: Callable[[bytes], bytes], limit: int
) -> tuple[Sequence[Named], bool]:
    """The first `limit` in order, of those that are folded alike the first only; and whether there are no more.

    Holds at most twice as many.
    """
    kept: dict[bytes, Named] = {}
    last = b""
    for name, record in names:
        shown = folded(name) or name
        if last and shown > last:
            continue
        if shown not in kept or name < kept[shown][0]:
            kept[shown] = (name, record)
        if len(kept) > 2 * limit:
            kept = dict(sorted(kept.items())[:limit])
            last = max(kept)
    in_order = [kept[shown] for shown in sorted(kept)]
    return in_order[:limit], not last and len(in_order) <= limit
