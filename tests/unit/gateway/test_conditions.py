"""Conditional and range headers as the store gets them."""

from __future__ import annotations

import pytest

from shoal_core.errors import InvalidArgument, RangeNotSatisfiable
from shoal_core.objects import NO_PRECONDITIONS, RangeRequest
from shoal_gateway.rest.conditions import any_etags, date_ns, parse_preconditions, parse_range, strong_etags


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", RangeRequest(0, 9)),
        ("bytes=5-", RangeRequest(5, None)),
        ("bytes=-3", RangeRequest(None, 3)),
        ("BYTES=1-1", RangeRequest(1, 1)),
        (f"bytes=1-{10**40}", RangeRequest(1, (1 << 63) - 1)),
        ("lines=0-9", None),
        (None, None),
    ],
)
def test_single_ranges_are_read(header: str | None, expected: RangeRequest | None) -> None:
    assert parse_range(header) == expected


@pytest.mark.parametrize(
    "header",
    ["bytes=0-1,3-4", "bytes=-", "bytes=", "bytes=9-0", "bytes=a-b", "bytes=\u0660-\u0669", "bytes=1_0-20"],
)
def test_ranges_that_are_not_one_plain_range_are_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header)


def test_weak_tags_match_reads_but_never_writes() -> None:
    assert any_etags('W/"a", "b"') == ("a", "b")
    assert strong_etags('W/"a", "b"') == ("b",)
    assert strong_etags('W/"a"') == ("",)


def test_star_and_bare_tags_are_taken() -> None:
    assert any_etags("*") == ("*",)
    assert any_etags('abc-1 , "d,e"') == ("abc-1", "d,e")


def test_a_star_in_quotes_is_the_tag_of_nothing() -> None:
    assert any_etags('"*", "a"') == ("a",)
    assert strong_etags('"*"') == ("",)


def test_empty_elements_of_a_list_are_passed_over() -> None:
    assert any_etags(' , "a",, "b" ,\t,') == ("a", "b")
    assert any_etags("") == ()


@pytest.mark.parametrize("header", ['"a" "b"', '"a', "a" + ",a" * 100])
def test_unreadable_tags_are_refused(header: str) -> None:
    with pytest.raises(InvalidArgument):
        any_etags(header)


def test_a_date_covers_its_whole_second() -> None:
    assert date_ns("Thu, 01 Jan 1970 00:00:01 GMT") == 1_999_999_999
    assert date_ns("yesterday") is None


def test_no_conditional_header_means_no_preconditions() -> None:
    assert parse_preconditions({"range": "bytes=0-1"}) is NO_PRECONDITIONS


def test_tags_win_over_dates_of_the_same_direction() -> None:
    date = "Thu, 01 Jan 1970 00:00:01 GMT"
    conditions = parse_preconditions({"if-none-match": '"x"', "if-modified-since": date})
    assert (conditions.if_none_match, conditions.if_modified_since_ns) == (("x",), None)
