"""Preconditions, as a table: what is there, what was asked, what follows for a write and for a read."""

from __future__ import annotations

import pytest

from shoal_core.errors import NotModified, PreconditionFailed, ShoalError
from shoal_core.objects import NO_PRECONDITIONS, Preconditions, Version
from shoal_store.conditions import check
from shoal_store.record import Record

SECOND = 1_000_000_000
VERSION = Version(b"version-0001")
OTHER = Version(b"version-0002")
CURRENT = Record(3, "etag-1", "none", "", "", {}, version=VERSION, modified_ns=100 * SECOND + 500)

Outcome = type[ShoalError] | None
TABLE: list[tuple[str, Preconditions, Outcome, Outcome, Outcome]] = [
    # What is asked; outcome of a write over the object, of a write where nothing is, of a read of the object.
    ("nothing", NO_PRECONDITIONS, None, None, None),
    ("an empty condition", Preconditions(), None, None, None),
    ("match", Preconditions(if_match=("etag-1",)), None, PreconditionFailed, None),
    ("match one of", Preconditions(if_match=("x", "etag-1")), None, PreconditionFailed, None),
    (
        "match another",
        Preconditions(if_match=("x",)),
        PreconditionFailed,
        PreconditionFailed,
        PreconditionFailed,
    ),
    ("match any", Preconditions(if_match=("*",)), None, PreconditionFailed, None),
    ("none match", Preconditions(if_none_match=("etag-1",)), PreconditionFailed, None, NotModified),
    ("none match another", Preconditions(if_none_match=("x",)), None, None, None),
    ("none match any", Preconditions(if_none_match=("*",)), PreconditionFailed, None, NotModified),
    ("version", Preconditions(if_version=VERSION), None, PreconditionFailed, None),
    (
        "another version",
        Preconditions(if_version=OTHER),
        PreconditionFailed,
        PreconditionFailed,
        PreconditionFailed,
    ),
    ("unchanged since", Preconditions(if_unmodified_since_ns=100 * SECOND), None, None, None),
    (
        "changed since",
        Preconditions(if_unmodified_since_ns=99 * SECOND),
        PreconditionFailed,
        None,
        PreconditionFailed,
    ),
    ("modified since", Preconditions(if_modified_since_ns=99 * SECOND), None, None, None),
    ("not modified since", Preconditions(if_modified_since_ns=100 * SECOND), None, None, NotModified),
    (
        "match goes before dates",
        Preconditions(if_match=("etag-1",), if_unmodified_since_ns=1 * SECOND),
        None,
        PreconditionFailed,
        None,
    ),
    (
        "none match goes before dates",
        Preconditions(if_none_match=("x",), if_modified_since_ns=200 * SECOND),
        None,
        None,
        None,
    ),
    (
        "all must hold",
        Preconditions(if_match=("etag-1",), if_version=OTHER),
        PreconditionFailed,
        PreconditionFailed,
        PreconditionFailed,
    ),
    (
        "a version and none match",
        Preconditions(if_version=VERSION, if_none_match=("etag-1",)),
        PreconditionFailed,
        PreconditionFailed,
        NotModified,
    ),
]


def outcome(preconditions: Preconditions, record: Record | None, *, reading: bool) -> Outcome:
    try:
        check(preconditions, record, reading=reading)
    except ShoalError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("asked", "over", "new", "read"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_a_precondition_has_the_outcome_of_the_table(
    asked: Preconditions, over: Outcome, new: Outcome, read: Outcome
) -> None:
    assert outcome(asked, CURRENT, reading=False) is over
    assert outcome(asked, None, reading=False) is new
    assert outcome(asked, CURRENT, reading=True) is read


def test_a_failed_precondition_names_the_condition() -> None:
    with pytest.raises(PreconditionFailed) as caught:
        check(Preconditions(if_version=OTHER), CURRENT, reading=False)
    assert caught.value.metadata["condition"] == "if_version"
