"""Where the parts of an object begin that an upload in parts has made: kept with it, for reads of one part.

Parts are mostly alike in size and numbered without gaps, so 10,000 of them are two runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec


class PartRun(msgspec.Struct, array_like=True, frozen=True):
    """Parts of one size with consecutive numbers."""

    first: int
    """Number of the first part."""
    count: int
    size: int
    """Bytes of each."""


class PartPlace(msgspec.Struct, frozen=True):
    """One part, as a place within the object."""

    number: int
    offset: int
    size: int


def runs_of(parts: Iterable[tuple[int, int]]) -> tuple[PartRun, ...]:
    """(number, size) of each part, by ascending numbers."""
    runs: list[PartRun] = []
    for number, size in parts:
        last = runs[-1] if runs else None
        if last is not None and last.size == size and last.first + last.count == number:
            runs[-1] = PartRun(last.first, last.count + 1, size)
        else:
            runs.append(PartRun(number, 1, size))
    return tuple(runs)


def count_of(runs: Sequence[PartRun]) -> int:
    return sum(run.count for run in runs)


def places(runs: Sequence[PartRun]) -> Iterator[PartPlace]:
    """In order."""
    offset = 0
    for run in runs:
        for number in range(run.first, run.first + run.count):
            yield PartPlace(number, offset, run.size)
            offset += run.size


def place_of(runs: Sequence[PartRun], number: int) -> PartPlace | None:
    offset = 0
    for run in runs:
        if run.first <= number < run.first + run.count:
            return PartPlace(number, offset + (number - run.first) * run.size, run.size)
        offset += run.count * run.size
    return None
