"""How much of a page to ask of each of several sources that share the names between them by chance."""

from __future__ import annotations

from math import isqrt


def share(wanted: int, sources: int) -> int:
    """Enough from each, nearly always, that together they have the first `wanted` names: the mean and about three
    standard deviations."""
    return wanted if sources == 1 else wanted // sources + isqrt(4 * wanted // sources) + 1
