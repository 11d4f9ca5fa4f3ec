"""The index of a mountpath: opening, sharing, refusing what it does not know, and transactions that fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import lmdb
import pytest

from shoal_core.errors import ConfigurationError, DataCorrupt, OutOfSpace, StaleEpoch, TooBusy, Unavailable
from shoal_core.placement import SLOTS
from shoal_store.index import LOCK_FILE_BYTES, READERS_MAX, TABLES, Index
from shoal_store.slots import OwnedSlots


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "index").mkdir()
    return tmp_path


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    index = Index("mp1", path, writable=True)
    yield index
    index.close()


def test_a_new_index_has_every_table_and_holds_no_slot(index: Index) -> None:
    with index.read() as transaction:
        assert not any(index.owned(transaction).holds(slot) for slot in range(0, SLOTS, 97))
        for name in TABLES:
            assert transaction.stat(getattr(index, name))["entries"] == 2 * (name == "meta")


def test_what_was_written_is_there_when_it_is_opened_again(index: Index, path: Path) -> None:
    with index.write() as transaction:
        transaction.put(b"key", b"value", db=index.records)
    index.close()
    reopened = Index("mp1", path, writable=False)
    with reopened.read() as transaction:
        assert transaction.get(b"key", db=reopened.records) == b"value"
    reopened.close()


def test_no_other_process_takes_the_writers_lock_file_for_its_own(index: Index, path: Path) -> None:
    with index.write() as transaction:
        transaction.put(b"key", b"value", db=index.records)
    lock = path / "index" / "lock.mdb"
    attempt = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    other = subprocess.run([sys.executable, "-c", attempt, str(lock)], capture_output=True, check=False)
    assert b"BlockingIOError" in other.stderr
    assert lock.stat().st_size == LOCK_FILE_BYTES
    assert lock.stat().st_blocks * 512 >= LOCK_FILE_BYTES


def test_a_block_that_raises_writes_nothing(index: Index) -> None:
    with pytest.raises(RuntimeError), index.write() as transaction:
        write_and_raise(transaction, index)
    with index.read() as transaction:
        assert transaction.get(b"key", db=index.records) is None


def write_and_raise(transaction: lmdb.Transaction, index: Index) -> None:
    transaction.put(b"key", b"value", db=index.records)
    raise RuntimeError


def test_slots_are_held_as_the_bitmap_says(index: Index) -> None:
    index.own(OwnedSlots.at(5, bytes([0b10]) + bytes(SLOTS // 8 - 1)))
    with index.read() as transaction:
        index.check_owner(transaction, 1)
        with pytest.raises(StaleEpoch) as caught:
            index.check_owner(transaction, 0)
    assert caught.value.metadata["epoch"] == "5"


def test_an_index_of_another_format_is_refused_and_left_alone(index: Index, path: Path) -> None:
    with index.write() as transaction:
        transaction.put(b"format", b"\x03", db=index.meta)
    index.close()
    for writable in (True, False):
        with pytest.raises(ConfigurationError, match="format 03"):
            Index("mp1", path, writable=writable)


def test_no_table_is_added_to_an_index_of_another_format(path: Path) -> None:
    with lmdb.open(str(path / "index"), max_dbs=2) as newer:
        table = newer.open_db(b"meta")
        with newer.begin(write=True) as transaction:
            transaction.put(b"format", b"\x03", db=table)
    before = (path / "index" / "data.mdb").read_bytes()
    with pytest.raises(
        ConfigurationError, match="format 03, this Shoal knows 2: use the Shoal that wrote it"
    ):
        Index("mp1", path, writable=True)
    assert (path / "index" / "data.mdb").read_bytes() == before


def test_an_index_that_is_no_database_is_refused(path: Path) -> None:
    (path / "index" / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(DataCorrupt, match="cannot be opened"):
        Index("mp1", path, writable=True)


def test_reading_an_index_that_was_never_made_is_refused_until_it_is_made(path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            Index("mp1", path, writable=False)
    lmdb.open(str(path / "index"), max_dbs=1).close()
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            Index("mp1", path, writable=False)
    Index("mp1", path, writable=True).close()
    Index("mp1", path, writable=False).close()


def test_an_index_is_bound_to_its_first_set_of_mountpaths(index: Index) -> None:
    index.bind(["mp2", "mp1"])
    index.bind(["mp1", "mp2"])
    with pytest.raises(ConfigurationError, match="mp1,mp2 and is opened with mp1,mp3"):
        index.bind(["mp1", "mp3"])


def test_one_reader_too_many_is_told_to_come_back(path: Path) -> None:
    index = Index("mp1", path, writable=True)
    with ExitStack() as readers:
        for _ in range(READERS_MAX):
            readers.enter_context(index.read())
        with pytest.raises(TooBusy, match="repeat"):
            readers.enter_context(index.read())
    index.close()


def test_a_full_index_says_so_and_takes_smaller_writes_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal_store.index.MAP_BYTES", 1 << 20)
    index = Index("mp1", path, writable=True)
    with pytest.raises(OutOfSpace, match="delete objects or add space"), index.write() as transaction:
        transaction.put(b"key", bytes(2 << 20), db=index.payloads)
    with index.write() as transaction:
        transaction.put(b"key", b"small", db=index.payloads)
    with index.read() as transaction:
        assert transaction.get(b"key", db=index.payloads) == b"small"
    index.close()


def test_errors_of_the_database_are_told_in_our_own(index: Index) -> None:
    with pytest.raises(Unavailable) as caught, index.write():
        raise lmdb.PanicError("mdb_txn_commit")
    assert caught.value.metadata["outcome"] == "unknown"
    with pytest.raises(DataCorrupt, match="fsck"), index.read():
        raise lmdb.CorruptedError("mdb_get")


def test_an_index_that_could_not_be_opened_anew_is_opened_by_the_next_write(index: Index) -> None:
    """What a failed write of LMDB's meta page leads to when its disk fails on; see `tests/faults/test_io_errors.py`."""
    with index.write() as transaction:
        transaction.put(b"key", b"value", db=index.records)
    index.close()
    with pytest.raises(Unavailable, match="repeat after a pause"), index.read():
        """Nothing can be looked at."""
    with index.write() as transaction:
        transaction.put(b"other", b"value", db=index.records)
    with index.read() as transaction:
        assert transaction.stat(index.records)["entries"] == 2


def test_looks_under_way_are_seen_before_an_index_is_closed_under_them(index: Index) -> None:
    with index.read():
        """An idle place in the reader table stays."""
    assert not index._has_looks()
    with index.read():
        assert index._has_looks()


def test_tables_that_are_missing_are_not_made_in_an_index_that_was_there(index: Index, path: Path) -> None:
    """It would seem empty, and whatever its rows named would be orphans."""
    index.close()
    environment = lmdb.open(str(path / "index"), max_dbs=len(TABLES))
    records = environment.open_db(b"records")
    with environment.begin(write=True) as transaction:
        transaction.drop(records)
    environment.close()
    with pytest.raises(DataCorrupt, match="cannot be opened"):
        Index("mp1", path, writable=True)
