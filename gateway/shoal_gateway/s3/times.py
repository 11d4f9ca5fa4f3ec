"""Moments as S3 writes them in XML: milliseconds, always three digits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

MILLISECONDS = tuple(f".{milliseconds:03d}Z" for milliseconds in range(1000))
"""Looked up, since formatting them takes as long as all the rest of a listing's entry."""


def timestamp(time_ns: int) -> str:
    return millisecond(time_ns // 1_000_000)


def timestamps(times_ns: Sequence[int]) -> Sequence[str]:
    """Each of them written once: what lies side by side in a listing was often committed together."""
    milliseconds = [time_ns // 1_000_000 for time_ns in times_ns]
    written = {each: millisecond(each) for each in set(milliseconds)}
    return [written[each] for each in milliseconds]


def millisecond(milliseconds: int) -> str:
    """Since 1970."""
    return second(milliseconds // 1000) + MILLISECONDS[milliseconds % 1000]


@lru_cache(4096)
def second(seconds: int) -> str:
    """Since 1970. Kept, because the names of a listing were often written within the same hour."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
