"""A page of names as XML: whatever the names are, alone or among others, they come back."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given, strategies as st

from shoal_core.objects import ListPage, ObjectInfo, Version
from shoal_gateway.s3.listing import TextWriter, contents
from shoal_gateway.s3.times import timestamp
from shoal_gateway.s3.xml import document, escaped, escaped_all, parse

NAMES = st.lists(st.text(alphabet="ab/~&<>\"' %+=é猫😀\t]", min_size=1, max_size=5), max_size=6)
TIMES = st.integers(0, 2**62)


def info(name: str, etag: str = "e", *, modified_ns: int = 0) -> ObjectInfo:
    return ObjectInfo(name, 5, Version(bytes(12)), 1, etag, None, modified_ns, "", {})


@pytest.mark.parametrize("encoded", [False, True])
@given(names=NAMES, etags=NAMES)
def test_names_and_etags_come_back(encoded: bool, names: list[str], etags: list[str]) -> None:
    page = ListPage(tuple(map(info, names, etags)), (), "")
    shown = contents(page, TextWriter(encoded=encoded), with_owner=False)
    entries = parse(document("ListBucketResult", *shown), "ListBucketResult").all("Contents")
    keys = [entry.exact("Key") or "" for entry in entries]
    assert [unquote(key) if encoded else key for key in keys] == names[: len(etags)]
    assert [entry.exact("ETag") for entry in entries] == [f'"{etag}"' for etag in etags[: len(names)]]


@given(st.lists(st.text(st.characters(max_codepoint=127) | st.characters(exclude_categories=["Cs"]))))
def test_texts_are_escaped_together_as_each_alone(texts: list[str]) -> None:
    assert list(escaped_all(texts)) == [escaped(text) for text in texts]


@pytest.mark.parametrize("name", [*map(chr, range(1, 33)), "&", "<", ">", "a", "é"])
def test_one_name_with_a_special_character_among_others_is_escaped(name: str) -> None:
    assert list(escaped_all(["a", name, "b"])) == ["a", escaped(name), "b"]


@given(TIMES)
def test_a_timestamp_is_cut_to_milliseconds(time_ns: int) -> None:
    read = datetime.fromisoformat(timestamp(time_ns))
    assert len(timestamp(time_ns)) == len("2026-11-23T15:56:04.123Z")
    assert round((read - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000) == time_ns // 1_000_000
