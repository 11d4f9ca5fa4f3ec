"""A page of names in AIStore's forms."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from shoal_core.objects import Checksum, ListPage, ObjectInfo, Version
from shoal_gateway.rest.listing import (
    ENTRY_CACHED,
    ENTRY_CHUNKED,
    LIST_CACHED,
    LIST_NAME_ONLY,
    LIST_NAME_SIZE,
    ListMessage,
    PackedEntry,
    PackedPage,
    list_query,
    page_entries,
    rfc822,
)

INFO = ObjectInfo(
    "a", 5, Version(bytes(12)), 3, "e", Checksum("md5", "00"), 1_795_449_604_999_999_999, "", {"k": "v"}, "t[t1]:mp1",
    chunk_count=2,
)  # fmt: skip
TIME = "23 Nov 26 16:00 UTC"


@pytest.mark.parametrize(
    ("props", "entry"),
    [
        ("", PackedEntry("a", s=5, f=ENTRY_CACHED)),
        ("name", PackedEntry("a", f=ENTRY_CACHED)),
        ("name, size,cached", PackedEntry("a", s=5, f=ENTRY_CACHED)),
        ("name,atime,version", PackedEntry("a", a=TIME, v="3", f=ENTRY_CACHED)),
        ("checksum,location,copies", PackedEntry("a", cs="00", t="t[t1]:mp1", c=1, f=ENTRY_CACHED)),
        ("custom", PackedEntry("a", m="ETag=e, k=v", f=ENTRY_CACHED)),
        ("chunked", PackedEntry("a", f=ENTRY_CACHED | ENTRY_CHUNKED)),
    ],
)
def test_an_entry_has_what_was_asked_for(props: str, entry: PackedEntry) -> None:
    assert page_entries(ListPage((INFO,), (), ""), ListMessage(props=props), 0) == [entry]


@pytest.mark.parametrize(
    "props", ["", "name", "name, size,cached", "name,atime,version", "checksum", "custom"]
)
@pytest.mark.parametrize("flags", [0, LIST_CACHED, LIST_NAME_ONLY, LIST_NAME_SIZE])
def test_what_a_brief_listing_leaves_out_is_not_shown(props: str, flags: int) -> None:
    message = ListMessage(props=props, flags=flags)
    page = ListPage((INFO,), (), "")
    if list_query(message, flags, "").detail == "size":
        left = ObjectInfo("a", 5, Version(b""), 0, "", None, 0, "", {})
        assert page_entries(ListPage((left,), (), ""), message, flags) == page_entries(page, message, flags)
    else:
        assert page_entries(page, message, flags) != [PackedEntry("a", s=5, f=ENTRY_CACHED)]


def test_a_time_is_written_as_the_client_asks() -> None:
    message = ListMessage(props="name,atime", time_format="2006-01-02T15:04:05Z07:00")
    (entry,) = page_entries(ListPage((INFO,), (), ""), message, 0)
    assert entry.a == "2026-11-23T16:00:04Z"


def test_a_packed_page_leaves_out_what_is_empty() -> None:
    packed = msgspec.msgpack.encode(PackedPage("u", "", 0, [PackedEntry("a", f=ENTRY_CACHED)]))
    assert msgspec.msgpack.decode(packed)["Entries"] == [{"n": "a", "f": ENTRY_CACHED}]


@pytest.mark.parametrize("seconds", [0, 59, 60, 1_795_449_599, 1_795_449_600])
def test_a_time_is_cut_to_minutes(seconds: int) -> None:
    read = datetime.strptime(rfc822(seconds * 1_000_000_000), "%d %b %y %H:%M UTC").replace(tzinfo=UTC)
    assert read.timestamp() == seconds // 60 * 60
