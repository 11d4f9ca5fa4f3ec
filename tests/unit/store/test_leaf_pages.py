"""Finding the pages of an index that a walk will need, in the file that LMDB has written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from shoal_store.index import Index
from shoal_store.leaf_pages import Keys, Table, in_memory, leaves_of, opened, read_ahead, runs, table_of
from support.damages import PAGE, get_page, put_page
from support.waiting import eventually

ROWS = 20_000
ALL = Keys(b"", b"\xff")


def key_of(number: int) -> bytes:
    return b"%06d" % number


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    path = tmp_path_factory.mktemp("leaves")
    (path / "index").mkdir()
    index = Index("mp1", path, writable=True)
    # In parts and out of order, with other rows between, so that the leaves lie scattered.
    for first in (3, 1, 0, 2):
        with index.write() as transaction:
            for number in range(first, ROWS, 4):
                transaction.put(key_of(number), bytes(100), db=index.records)
                transaction.put(key_of(number), bytes(3000), db=index.payloads)
    yield index
    index.close()


def file_of(index: Index) -> Path:
    return index.path / "index" / "data.mdb"


def table(index: Index) -> Table:
    with index.read() as transaction:
        found = table_of(transaction.get(b"records"))
    assert found is not None
    return found


def leaves(index: Index, keys: Keys) -> list[bytes]:
    with opened(file_of(index)) as descriptor:
        numbers = list(leaves_of(descriptor, table(index), keys, page_bytes=PAGE))
        return [os.pread(descriptor, PAGE, number * PAGE) for number in numbers]


def test_all_leaves_of_a_table_are_found_in_the_order_of_their_keys(index: Index) -> None:
    found = leaves(index, ALL)
    assert table(index).depth > 2
    assert len(found) == table(index).leaves
    number = 0
    for page in found:
        assert key_of(number) in page
        while key_of(number) in page:
            number += 1
    assert number == ROWS


@settings(max_examples=200, deadline=None)
@given(start=st.integers(0, ROWS - 1), count=st.integers(1, 500))
def test_keys_lie_in_the_leaves_that_are_found_for_them_and_those_are_no_others(
    index: Index, start: int, count: int
) -> None:
    numbers = range(start, min(start + count, ROWS))
    found = leaves(index, Keys(key_of(start), key_of(start + count)))
    assert all(any(key_of(number) in page for page in found) for number in numbers)
    assert all(any(key_of(number) in page for number in numbers) for page in found)


def test_a_table_of_one_leaf_has_that_one_and_an_empty_table_none(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    index = Index("mp1", tmp_path, writable=True)
    with index.read() as transaction:
        assert table_of(transaction.get(b"records")) is None
    with index.write() as transaction:
        transaction.put(b"key", b"value", db=index.records)
    assert [b"key" in page for page in leaves(index, ALL)] == [True]
    index.close()


async def test_pages_on_the_disk_alone_are_fetched(index: Index) -> None:
    copy = index.path / "copy"
    copy.write_bytes(file_of(index).read_bytes())
    with opened(copy) as descriptor:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        numbers = list(leaves_of(descriptor, table(index), ALL, page_bytes=PAGE))
        wanted = [number * PAGE for number in numbers[:200]]
        if all(in_memory(descriptor, offset) for offset in wanted):
            pytest.skip("this filesystem is in memory")
        read_ahead(copy, table(index), ALL, rows=ROWS, page_bytes=PAGE)
        await eventually(lambda: all(in_memory(descriptor, offset) for offset in wanted))


@pytest.mark.parametrize("root", [0, 1, 1 << 40])
def test_what_is_no_branch_page_leads_nowhere_and_harms_nobody(index: Index, root: int) -> None:
    read_ahead(file_of(index), table(index)._replace(root=root), ALL, rows=10, page_bytes=PAGE)
    assert table_of(b"short") is None


@pytest.mark.parametrize("lower", [0, 15, 17, 0xFFFF])
def test_a_branch_whose_head_is_damaged_harms_nobody(index: Index, tmp_path: Path, lower: int) -> None:
    copy = Path(shutil.copy(file_of(index), tmp_path))
    damaged = bytearray(get_page(copy, table(index).root))
    damaged[12:14] = lower.to_bytes(2, "little")
    put_page(copy, table(index).root, damaged)
    read_ahead(copy, table(index), ALL, rows=10, page_bytes=PAGE)


def test_pages_side_by_side_are_asked_for_together() -> None:
    assert list(runs([7, 8, 9, 3, 5, 6])) == [(7, 3), (3, 1), (5, 2)]
    assert list(runs([])) == []
