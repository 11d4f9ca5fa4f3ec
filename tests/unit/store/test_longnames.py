"""The first names of many in any order, one of each common prefix, against sorting them all."""

from __future__ import annotations

from hypothesis import given, strategies as st

from shoal_store.longnames import first_names

NAMES = st.lists(st.text("ab/", min_size=1, max_size=4).map(str.encode), unique=True, max_size=60)


def folded(name: bytes) -> bytes:
    return name[: name.find(b"/") + 1]


@given(names=NAMES, limit=st.integers(1, 8))
def test_the_first_names_are_those_of_the_sorted_list(names: list[bytes], limit: int) -> None:
    shown: dict[bytes, bytes] = {}
    for name in sorted(names):
        shown.setdefault(folded(name) or name, name)
    found, whole = first_names(((name, b"") for name in names), folded=folded, limit=limit)
    assert [name for name, _ in found] == list(shown.values())[:limit]
    assert whole == (len(shown) <= limit)
