"""HTTP's conditional and range headers, as the store understands them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from shoal_core.errors import InvalidArgument, RangeNotSatisfiable
from shoal_core.objects import NO_PRECONDITIONS, Preconditions, RangeRequest

CONDITIONAL_HEADERS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
ETAGS_MAX = 64
# ASCII digits only: Python's int() would take Arabic-Indic ones and underscores too.
_SINGLE_RANGE = re.compile(r"([0-9]{0,100})-([0-9]{0,100})")
_NOTHING = re.compile(r"[ \t]*(,|$)")
_ETAG = re.compile(r'\s*(W/)?"([^"]*)"\s*|\s*([^",\s]+)\s*')
ANY = "*"
SECOND_NS = 1_000_000_000
INT64_MAX = (1 << 63) - 1


def parse_preconditions(headers: Mapping[str, str]) -> Preconditions:
    """An entity tag wins over a date of the same direction (RFC 9110, 13.2.2)."""
    if not any(name in headers for name in CONDITIONAL_HEADERS):
        return NO_PRECONDITIONS
    if_match = headers.get("if-match")
    if_none_match = headers.get("if-none-match")
    return Preconditions(
        if_match=() if if_match is None else strong_etags(if_match),
        if_none_match=() if if_none_match is None else any_etags(if_none_match),
        if_modified_since_ns=None if if_none_match is not None else date_ns(headers.get("if-modified-since")),
        if_unmodified_since_ns=None if if_match is not None else date_ns(headers.get("if-unmodified-since")),
    )


def parse_range(header: str | None) -> RangeRequest | None:
    """One range of bytes. Other units are ignored, as in HTTP; several ranges are refused, as in AIStore."""
    if header is None or not header.lower().startswith("bytes="):
        return None
    match = _SINGLE_RANGE.fullmatch(header[len("bytes=") :].strip())
    if match is None or match.group(0) == "-":
        raise RangeNotSatisfiable(f"cannot serve {header[:100]!r}: ask for one range, such as bytes=0-499")
    first = int(match[1]) if match[1] else None
    last = int(match[2]) if match[2] else None
    if first is not None and last is not None and last < first:
        raise RangeNotSatisfiable(f"cannot serve {header[:100]!r}: the range ends before it starts")
    return RangeRequest(within_int64(first), within_int64(last))


def within_int64(number: int | None) -> int | None:
    """No object is longer: all larger numbers mean the same."""
    return None if number is None else min(number, INT64_MAX)


def etags_of(header: str) -> list[tuple[bool, str]]:
    """(weak, opaque tag) of each; tags without quotes are taken too, because clients send them. In quotes the sign for
    any object is a tag like others, which none of ours is."""
    found: list[tuple[bool, str]] = []
    position = 0
    while position < len(header):
        if match := _NOTHING.match(header, position):
            position = match.end()
            continue
        match = _ETAG.match(header, position)
        if match is None or len(found) == ETAGS_MAX:
            raise InvalidArgument(
                f'cannot read the entity tags {header[:100]!r}: send a list such as "a", "b"'
            )
        if match[2] != ANY:
            found.append((bool(match[1]), match[3] if match[2] is None else match[2]))
        position = match.end()
        if position < len(header) and header[position] != ",":
            raise InvalidArgument(f"cannot read the entity tags {header[:100]!r}: separate them by commas")
        position += 1
    return found


def strong_etags(header: str) -> tuple[str, ...]:
    """If-Match compares strongly: a weak tag matches nothing, so that nothing is overwritten by accident."""
    tags = tuple(tag for weak, tag in etags_of(header) if not weak)
    # An empty tuple would mean "no condition"; no object ever has the empty tag.
    return tags or ("",)


def any_etags(header: str) -> tuple[str, ...]:
    return tuple(tag for _, tag in etags_of(header))


def date_ns(header: str | None) -> int | None:
    """The last nanosecond of that second: HTTP dates know no fractions, modification times do."""
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    seconds = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    return seconds * SECOND_NS + SECOND_NS - 1
