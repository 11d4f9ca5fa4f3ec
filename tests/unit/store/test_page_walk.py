"""Pages of an index that lie in each other's places: LMDB reads them, and dies when it is about to change one."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from shoal_store.bus_errors import is_readable
from shoal_store.index import Index
from shoal_store.leaf_pages import Keys, Table, leaves_of, opened, table_of
from shoal_store.page_walk import damaged_page
from support.damages import PAGE, get_page, put_page

ROWS = 3000
ALL = Keys(b"", b"\xff" * 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mountpath whose index has branches, values in pages of their own, and free pages."""
    (tmp_path / "index").mkdir()
    write(tmp_path, rounds=40)
    return tmp_path


def write(folder: Path, *, rounds: int) -> None:
    chance = random.Random(rounds)
    with closing(Index("mp1", folder, writable=True, sync=False)) as index:
        for _ in range(rounds):
            with index.write() as transaction:
                for number in chance.sample(range(ROWS), ROWS // 10):
                    transaction.put(b"%0100d" % number, chance.randbytes(200), db=index.records)
                for number in chance.sample(range(100), 20):
                    transaction.put(b"%d" % number, chance.randbytes(30_000), db=index.payloads)
                transaction.delete(b"%d" % chance.randrange(100), db=index.payloads)


def file_of(folder: Path) -> Path:
    return folder / "index" / "data.mdb"


def damaged(folder: Path) -> int | None:
    return damaged_page(file_of(folder), page_bytes=PAGE)


def records(folder: Path) -> Table:
    with closing(Index("mp1", folder, writable=False)) as index, index.read() as transaction:
        table = table_of(transaction.get(b"records"))
        assert table is not None
        assert table.depth > 1
        return table


def leaves(folder: Path) -> list[int]:
    """Of the records, as a listing finds them."""
    with opened(file_of(folder)) as descriptor:
        return [*leaves_of(descriptor, records(folder), ALL, page_bytes=PAGE)]


def page(folder: Path, number: int) -> bytearray:
    return bytearray(get_page(file_of(folder), number))


def test_a_sound_index_has_no_damaged_page(folder: Path) -> None:
    assert damaged(folder) is None
    assert is_readable(folder)


def test_an_index_without_rows_has_none_either(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    Index("mp1", tmp_path, writable=True).close()
    assert damaged(tmp_path) is None


def test_two_leaves_in_each_others_places_are_found(folder: Path) -> None:
    """LMDB's own walk passes over them: each is a leaf."""
    one, other = leaves(folder)[3:5]
    first, second = page(folder, one), page(folder, other)
    put_page(file_of(folder), one, second)
    put_page(file_of(folder), other, first)
    assert damaged(folder) in (one, other)
    assert not is_readable(folder)


def test_a_page_that_is_named_twice_is_found(folder: Path) -> None:
    root = records(folder).root
    branch = page(folder, root)
    first, second = memoryview(branch)[16:20].cast("H")
    branch[second : second + 6] = branch[first : first + 6]
    named = int.from_bytes(branch[first : first + 6], "little")
    put_page(file_of(folder), root, branch)
    assert damaged(folder) == named


def test_a_page_that_names_itself_does_not_keep_the_walk_from_its_end(folder: Path) -> None:
    root = records(folder).root
    branch = page(folder, root)
    (first,) = memoryview(branch)[16:18].cast("H")
    branch[first : first + 6] = root.to_bytes(6, "little")
    put_page(file_of(folder), root, branch)
    assert damaged(folder) == root


def test_a_page_in_use_that_lmdb_takes_for_free_is_found(folder: Path) -> None:
    """What LMDB makes of exchanged pages when it changes one: it frees the page that stands in the head."""
    one, other = leaves(folder)[3:5]
    head = page(folder, one)
    head[:8] = other.to_bytes(8, "little")
    put_page(file_of(folder), one, head)
    with closing(Index("mp1", folder, writable=True, sync=False)) as index, index.write() as transaction:
        transaction.put(first_key(folder, one), b"changed", db=index.records)
    assert damaged(folder) == other
    assert not is_readable(folder)


def first_key(folder: Path, number: int) -> bytes:
    leaf = page(folder, number)
    (at,) = memoryview(leaf)[16:18].cast("H")
    length = int.from_bytes(leaf[at + 6 : at + 8], "little")
    return bytes(leaf[at + 8 : at + 8 + length])


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_page_holds_the_walk_ends(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    number = chance.choice([records(folder).root, *leaves(folder)])
    put_page(file_of(folder), number, page(folder, number)[:8] + chance.randbytes(PAGE - 8))
    damaged(folder)
