"""What HTTP says of conditional and range requests (RFC 9110, sections 13 and 14), read once more and on its own.

Where the RFC leaves a choice, ours is here: several ranges are 416, dates in If-Range count as changed, tags without
quotes are taken, what cannot be read as a list of tags is 400.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

TAGS_MAX = 64
DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class Stored:
    """An object as a server has it; `etag` without quotes, `modified` in whole seconds."""

    body: bytes
    etag: str
    modified: int


@dataclass(frozen=True)
class Expected:
    status: int
    body: bytes = b""


class Unreadable(Exception):
    """A list of entity tags that is none."""


def read(headers: Mapping[str, str], stored: Stored) -> Expected:
    """Of a GET."""
    try:
        failed = precondition(headers, stored, reading=True)
    except Unreadable:
        return Expected(400)
    if failed:
        return Expected(failed)
    if "range" not in headers or not headers["range"].lower().startswith("bytes="):
        return Expected(200, stored.body)
    if "if-range" in headers and not names_strongly(headers["if-range"], stored.etag):
        return Expected(200, stored.body)
    ends = one_range(headers["range"][6:].strip())
    if ends is None:
        return Expected(416)
    first, last = ends
    part = stored.body[first : last + 1] if first >= 0 else stored.body[first:] if last else b""
    return Expected(206, part) if part else Expected(416)


def written(headers: Mapping[str, str], stored: Stored) -> int:
    """The status of a PUT over the object."""
    try:
        return precondition(headers, stored, reading=False) or 200
    except Unreadable:
        return 400


def precondition(headers: Mapping[str, str], stored: Stored, *, reading: bool) -> int:
    """The status if one does not hold, else 0; in the order of 13.2.2."""
    match, none_match = tags(headers.get("if-match")), tags(headers.get("if-none-match"))
    if match is not None:
        if not any(tag == "*" or tag == f'"{stored.etag}"' for tag in match):
            return 412
    elif (date := seconds(headers.get("if-unmodified-since"))) is not None and stored.modified > date:
        return 412
    if none_match is not None:
        if any(tag == "*" or tag.removeprefix("W/") == f'"{stored.etag}"' for tag in none_match):
            return 304 if reading else 412
    elif (
        reading
        and (date := seconds(headers.get("if-modified-since"))) is not None
        and stored.modified <= date
    ):
        return 304
    return 0


def tags(header: str | None) -> list[str] | None:
    """Each with its quotes, or `*`."""
    if header is None:
        return None
    found, item, quoted = list[str](), "", False
    for character in header + ",":
        quoted ^= character == '"'
        if character != "," or quoted:
            item += character
        else:
            found += [one_tag(item.strip(" \t"))] if item.strip(" \t") else []
            item = ""
    if item or sum(not tag.endswith('"*"') for tag in found) > TAGS_MAX:
        raise Unreadable
    return found


def one_tag(item: str) -> str:
    opaque = item.removeprefix("W/")
    if len(opaque) > 1 and opaque[0] == opaque[-1] == '"' and '"' not in opaque[1:-1]:
        return item
    if '"' in item or any(character.isspace() for character in item):
        raise Unreadable
    return item if item == "*" else f'"{item}"'


def names_strongly(if_range: str, etag: str) -> bool:
    return if_range.strip(" \t") == f'"{etag}"'


def one_range(text: str) -> tuple[int, int] | None:
    """First and last byte; from the end, and -1, for a suffix."""
    first, dash, last = text.partition("-")
    if not dash or not (set(first) | set(last)) <= DIGITS or not (first or last):
        return None
    if not first:
        return (-int(last), -1) if int(last) else None
    if last and int(last) < int(first):
        return None
    return int(first), int(last) if last else 1 << 200


def seconds(header: str | None) -> int | None:
    if header is None:
        return None
    try:
        return int(parsedate_to_datetime(header).timestamp())
    except ValueError:
        return None
