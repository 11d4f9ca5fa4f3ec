"""The first names of many in any order, one of each common prefix, against sorting them all."""

from __future__ import annotations

from hypothesis import given, strategies as st

from shoal_store.longnames import Batch, first_names
from shoal_store.record import delete_marker

RECORD = delete_marker("")
NAMES = st.lists(st.text("ab/", min_size=1, max_size=4).map(str.encode), unique=True, max_size=60)


def folded(name: bytes) -> bytes:
    return name[: name.find(b"/") + 1]


@given(names=NAMES, limit=st.integers(1, 8))
def test_the_first_names_are_those_of_the_sorted_list(names: list[bytes], limit: int) -> None:
    shown: dict[bytes, bytes] = {}
    for name in sorted(names):
        shown.setdefault(folded(name) or name, name)
    found, whole = first_names(((name, RECORD) for name in names), folded=folded, limit=limit)
    assert [name for name, _ in found] == list(shown.values())[:limit]
    assert whole == (len(shown) <= limit)


def test_a_batch_covers_what_lies_between_its_start_and_its_last_name() -> None:
    names = [(b"b", RECORD), (b"d", RECORD)]
    part, whole = Batch(b"g", b"a", names, False), Batch(b"g", b"a", names, True)
    assert [part.covers(b"g", start) for start in (b"", b"a", b"c", b"d", b"e")] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert [whole.covers(b"g", start) for start in (b"", b"a", b"e")] == [False, True, True]
    assert not whole.covers(b"h", b"a")
    assert list(part.following(b"c")) == names[1:]
