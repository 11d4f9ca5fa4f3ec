"""Listing over several targets: the merged pages are those of one sorted list, wherever a name is kept."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from shoal_client.merge import merged_page, page_of_all
from shoal_core.objects import ListPage, ListQuery, ObjectInfo, Version

NAMES = st.text(alphabet="ab/é😀\uffff-", min_size=1, max_size=6)
PLACED = st.dictionaries(NAMES, st.integers(0, 2), max_size=40)
PREFIXES = st.sampled_from(["", "a", "a/", "é", "/", "b-"])
DELIMITERS = st.sampled_from(["", "/", "-", "é", "a/"])


def info(name: str, *, version: int = 1) -> ObjectInfo:
    return ObjectInfo(
        name=name,
        size=0,
        version=Version(version.to_bytes(12)),
        sequence=1,
        etag="",
        checksum=None,
        modified_ns=0,
        content_type="",
        metadata={},
    )


def listed(names: set[str], query: ListQuery) -> ListPage:
    """The model: one page of a plain sorted set, worked out on UTF-8 bytes."""
    keys = {folded(name, query) for name in names if name.startswith(query.prefix)}
    after = sorted((key for key in keys if key.encode() > query.start_after.encode()), key=str.encode)
    shown = after[: query.limit]
    prefixes = {key for key in shown if key not in names or is_folded(key, query)}
    return ListPage(
        entries=tuple(info(key) for key in shown if key not in prefixes),
        prefixes=tuple(key for key in shown if key in prefixes),
        next_after=shown[-1] if len(after) > len(shown) else "",
    )


def folded(name: str, query: ListQuery) -> str:
    if not is_folded(name, query):
        return name
    return name[: name.index(query.delimiter, len(query.prefix)) + len(query.delimiter)]


def is_folded(name: str, query: ListQuery) -> bool:
    return bool(query.delimiter) and query.delimiter in name[len(query.prefix) :]


def shares(placed: dict[str, int]) -> list[set[str]]:
    return [{name for name, target in placed.items() if target == wanted} for wanted in range(3)]


@given(
    placed=PLACED, prefix=PREFIXES, delimiter=DELIMITERS, after=NAMES | st.just(""), limit=st.integers(1, 7)
)
@settings(max_examples=400, deadline=None)
def test_merged_page_is_the_page_of_one_list(
    placed: dict[str, int], prefix: str, delimiter: str, after: str, limit: int
) -> None:
    query = ListQuery(prefix=prefix, delimiter=delimiter, start_after=after, limit=limit)
    assert merged_page([listed(share, query) for share in shares(placed)], query) == listed(
        set(placed), query
    )


@given(placed=PLACED, delimiter=DELIMITERS, limit=st.integers(1, 7), cut=st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_paging_to_the_end_shows_all_once_even_when_targets_cut_pages_short(
    placed: dict[str, int], delimiter: str, limit: int, cut: int
) -> None:
    keys, after = [], ""
    while True:
        query = ListQuery(delimiter=delimiter, start_after=after, limit=limit)
        short = ListQuery(delimiter=delimiter, start_after=after, limit=min(limit, cut))
        page = merged_page([listed(share, short) for share in shares(placed)], query)
        assert len(page.entries) + len(page.prefixes) <= limit
        keys += sorted([*(entry.name for entry in page.entries), *page.prefixes])
        after = page.next_after
        if not after:
            break
    assert keys == sorted({folded(name, query) for name in placed})


@given(
    placed=PLACED, prefix=PREFIXES, delimiter=DELIMITERS, after=NAMES | st.just(""), limit=st.integers(1, 30)
)
@settings(max_examples=200, deadline=None)
async def test_a_page_of_all_is_full_however_names_are_spread(
    placed: dict[str, int], prefix: str, delimiter: str, after: str, limit: int
) -> None:
    asked: list[int] = []

    async def ask(query: ListQuery) -> list[ListPage]:
        asked.append(query.limit)
        return [listed(share, query) for share in shares(placed)]

    query = ListQuery(prefix=prefix, delimiter=delimiter, start_after=after, limit=limit)
    assert await page_of_all(ask, 3, query) == listed(set(placed), query)
    assert len(asked) <= 2
    assert max(asked) <= limit


async def test_several_targets_tell_the_versions_of_names_even_where_a_brief_list_will_do() -> None:
    asked: list[str] = []

    async def ask(query: ListQuery) -> list[ListPage]:
        asked.append(query.detail)
        return [ListPage((), (), "")]

    await page_of_all(ask, 1, ListQuery(detail="size"))
    await page_of_all(ask, 2, ListQuery(detail="size"))
    assert asked == ["size", "all"]


async def test_of_many_targets_each_is_asked_for_its_share_of_a_page() -> None:
    asked: list[int] = []

    async def ask(query: ListQuery) -> list[ListPage]:
        asked.append(query.limit)
        names = {f"{number:04}" for number in range(4000)}
        return [listed({name for name in names if int(name) % 10 == target}, query) for target in range(10)]

    page = await page_of_all(ask, 10, ListQuery(limit=1000))
    assert len(page.entries) == 1000
    assert len(asked) == 1
    assert asked[0] < 150


def test_of_a_name_listed_by_two_targets_the_newer_version_is_shown() -> None:
    old, new = info("a", version=1), info("a", version=2)
    pages = [ListPage((new,), (), ""), ListPage((old,), (), "")]
    assert merged_page(pages, ListQuery()).entries == (new,)


def test_pages_of_no_target_merge_to_an_empty_last_page() -> None:
    assert merged_page([], ListQuery()) == ListPage((), (), "")
