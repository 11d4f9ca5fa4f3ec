"""Runs of parts say the same as the parts they are made of."""

from __future__ import annotations

import pytest

from shoal_core.part_runs import PartPlace, PartRun, count_of, place_of, places, runs_of


def test_equal_parts_and_a_last_one_are_two_runs() -> None:
    parts = [(number, 5 << 20) for number in range(1, 10_000)] + [(10_000, 7)]
    assert runs_of(parts) == (PartRun(1, 9_999, 5 << 20), PartRun(10_000, 1, 7))


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [(1, 0)],
        [(3, 10)],
        [(1, 10), (2, 10), (4, 10), (5, 11), (6, 11), (9, 1)],
        [(number, number % 3) for number in range(1, 50)],
    ],
)
def test_every_part_is_found_where_it_lies(parts: list[tuple[int, int]]) -> None:
    runs, offset = runs_of(parts), 0
    expected = []
    for number, size in parts:
        expected.append(PartPlace(number, offset, size))
        assert place_of(runs, number) == expected[-1]
        offset += size
    assert list(places(runs)) == expected
    assert count_of(runs) == len(parts)
    assert place_of(runs, 0) is None
    assert place_of(runs, 10_000) is None
