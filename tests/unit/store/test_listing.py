"""Listings against a sorted list: whatever prefix, delimiter, start and page size are asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from hypothesis import given, settings, strategies as st

from shoal_core.errors import DataCorrupt, InvalidArgument
from shoal_core.objects import Bucket, ListQuery
from shoal_core.placement import slot_of
from shoal_store import name_walk
from shoal_store.engine import Engine
from shoal_store.keys import key_of
from shoal_store.listed import Row
from shoal_store.listing import list_page
from shoal_store.name_walk import NameWalk
from shoal_store.record import Record, decode_record
from support.engines import BUCKET, damage_record, put, put_many, running_engine

LONG = "long/" + "x" * 435
"""440 bytes: names that begin with it share a group of hashed keys."""
NAMES = sorted(
    [
        *("a", "a/", "a/b", "a/b/", "a/b/c", "a//", "a//b", "a0", "a-", "b", "b/1", "b/2", "b+", "//", "/", "/x"),
        *("é", "é/1", "éé", "猫/1", "猫/2", "\x01", "\x7f", "~", "😀", "😀/😀", "-", "--", "a--b", "a--c", "ab--"),
        *(f"n/{number:03}" for number in range(100)),
        LONG, f"{LONG}/", f"{LONG}/b", f"{LONG}/a", f"{LONG}a", f"{LONG}é", f"{LONG}/a/1", LONG[:-1], LONG[:439] + "y",
        *(f"{LONG}{letter * 500}" for letter in "cab"), "猫" * 341, "猫" * 147, "猫" * 146 + "é",
    ]
)  # fmt: skip
PIECES = sorted(
    {name[:cut] for name in NAMES for cut in (0, 1, 2, 3, 440, 441, 442)} | {"zz", "a/b/c/d", "\x7f\x7f"}
)
DELIMITERS = ["", "/", "--", "é", "x", "/b", "猫/"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path_factory.mktemp("listing"), mountpaths=3) as engine:
        await put_many(engine, NAMES)
        await put(engine, "removed", b"x")
        await engine.store.delete(BUCKET, "removed")
        yield engine


class Page(NamedTuple):
    names: tuple[str, ...]
    prefixes: tuple[str, ...]
    next_after: str


def expected(query: ListQuery) -> Page:
    """By the definition of S3: names and common prefixes after the start, in the order of their bytes."""
    shown: dict[str, bool] = {}
    for name in NAMES:
        if not name.startswith(query.prefix):
            continue
        cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        item = name[: cut + len(query.delimiter)] if cut >= 0 else name
        shown[item] = shown.get(item, False) or cut >= 0
    after = sorted((item for item in shown if item > query.start_after), key=str.encode)
    page = after[: query.limit]
    return Page(
        tuple(item for item in page if not shown[item]),
        tuple(item for item in page if shown[item]),
        page[-1] if len(after) > len(page) else "",
    )


def listed(engine: Engine, query: ListQuery, *, bucket: Bucket = BUCKET) -> Page:
    page = list_page(list(engine.indexes.values()), "t1", bucket, query)
    return Page(tuple(info.name for info in page.entries), page.prefixes, page.next_after)


QUERIES = st.builds(
    ListQuery,
    prefix=st.sampled_from(["", *PIECES]),
    delimiter=st.sampled_from(DELIMITERS),
    start_after=st.sampled_from(["", *PIECES, *NAMES]),
    limit=st.integers(1, 100),
    detail=st.sampled_from(["size", "etag", "all"]),
)


@settings(max_examples=1000, deadline=None)
@given(query=QUERIES, batch=st.sampled_from([1, 2, 1000]))
def test_a_page_is_that_of_the_sorted_list(engine: Engine, query: ListQuery, batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name_walk, "GROUP_NAMES", batch)
        assert listed(engine, query) == expected(query)


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_pages_together_are_the_whole(engine: Engine, delimiter: str, limit: int) -> None:
    whole = expected(ListQuery(delimiter=delimiter, limit=10_000))
    names: list[str] = []
    prefixes: list[str] = []
    query = ListQuery(delimiter=delimiter, limit=limit)
    while True:
        page = listed(engine, query)
        names += page.names
        prefixes += page.prefixes
        if not page.next_after:
            break
        query = ListQuery(delimiter=delimiter, limit=limit, start_after=page.next_after)
    assert (tuple(names), tuple(prefixes)) == (whole.names, whole.prefixes)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys whose records a listing decodes to learn their names."""
    keys: list[bytes] = []

    def counted(key: bytes, value: bytes) -> Record:
        keys.append(key)
        return decode_record(key, value)

    monkeypatch.setattr(name_walk, "decode_listed", counted)
    return keys


def test_what_is_folded_is_skipped_and_not_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Row] = []
    read_rows = NameWalk._read

    def recorded(walk: NameWalk, count: int) -> list[Row]:
        rows = read_rows(walk, count)
        read.extend(rows)
        return rows

    monkeypatch.setattr(NameWalk, "_read", recorded)
    page = listed(engine, ListQuery(prefix="n", delimiter="/"))
    assert page.prefixes == ("n/",)
    assert 3 <= len(read) <= 3 * 2 * name_walk.FOLDED_ROWS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grouped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """200 long names in 100 folders, all with the same first 440 bytes."""
    async with running_engine(tmp_path_factory.mktemp("grouped"), mountpaths=2) as engine:
        await put_many(engine, [f"{LONG}/{number % 100:03}/{number}" for number in range(200)])
        yield engine


def test_long_names_are_read_once_for_a_page_of_folders(grouped: Engine, reads: list[bytes]) -> None:
    page = listed(grouped, ListQuery(prefix=f"{LONG}/", delimiter="/", limit=50))
    assert page.prefixes == tuple(f"{LONG}/{number:03}/" for number in range(50))
    assert len(reads) == 200


def test_long_names_below_one_prefix_are_not_read(grouped: Engine, reads: list[bytes]) -> None:
    assert listed(grouped, ListQuery(delimiter="/")) == Page((), ("long/",), "")
    assert len(reads) <= 2


def test_long_names_without_the_prefix_are_not_read(grouped: Engine, reads: list[bytes]) -> None:
    assert listed(grouped, ListQuery(prefix="long-")) == Page((), (), "")
    assert not reads


def test_no_payload_is_touched(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in engine.indexes.values():
        monkeypatch.setattr(index, "payloads", None)
    assert len(listed(engine, ListQuery(limit=10_000)).names) == len(NAMES)


def test_another_bucket_has_none_of_these(engine: Engine) -> None:
    other = Bucket(BUCKET.reference, type(BUCKET.id)(b"engine-2"), 1, 0, BUCKET.properties)
    assert listed(engine, ListQuery(), bucket=other) == Page((), (), "")


@pytest.mark.parametrize(
    "query", [ListQuery(limit=0), ListQuery(prefix="\ud800"), ListQuery(start_after="\udfff")]
)
def test_a_query_that_makes_no_sense_is_refused(engine: Engine, query: ListQuery) -> None:
    with pytest.raises(InvalidArgument):
        listed(engine, query)


@pytest.mark.parametrize("broken", ["n/050", LONG + "c" * 500], ids=["short", "long"])
@pytest.mark.parametrize("where", [0, 4, -1], ids=["format", "checksum", "body"])
async def test_no_page_passes_a_damaged_record(tmp_path: Path, broken: str, where: int) -> None:
    """Neither the one that shows its name nor the one that shows but its folder, with others or alone."""
    async with running_engine(tmp_path) as engine:
        await put_many(engine, [broken, "a", "b", "m", "z"])
        damage_record(engine, key_of(BUCKET.id, broken.encode()), where)
        for query in (
            ListQuery(),
            ListQuery(prefix=broken),
            ListQuery(delimiter="/"),
            ListQuery(delimiter="c"),
        ):
            with pytest.raises(DataCorrupt, match=f"object '{broken[:100]}'"):
                listed(engine, query)
        assert listed(engine, ListQuery(prefix="a")).names == ("a",)
        assert listed(engine, ListQuery(start_after="y")).names == ("z",)


async def test_only_the_names_of_held_slots_are_listed(tmp_path: Path) -> None:
    names = [*(f"{number}/a" for number in range(50)), *(f"{LONG}/{number}" for number in range(50))]
    held = {name for name in names if slot_of(BUCKET.id, name) % 2}
    async with running_engine(tmp_path) as engine:
        await put_many(engine, names)
        engine.own(2, b"\xaa" * 8192)
        assert set(listed(engine, ListQuery(limit=1000)).names) == held
        folders = {name.rsplit("/", 1)[0] + "/" for name in held if len(name) < 440}
        assert set(listed(engine, ListQuery(delimiter="/", limit=1000)).prefixes) == {*folders, "long/"}
