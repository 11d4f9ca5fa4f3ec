"""The index of a mountpath: one LMDB environment, written by the target alone, read by every process of its host."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import lmdb

from shoal_core.errors import (
    ConfigurationError,
    DataCorrupt,
    OutOfSpace,
    StaleEpoch,
    TooBusy,
    Unavailable,
)
from shoal_core.telemetry import get_logger
from shoal_store.durability import storage_error, sync_directory
from shoal_store.leaf_pages import Keys, read_ahead, table_of
from shoal_store.ledger import KEY as LEDGER, SUMMED, Ledger
from shoal_store.mountpaths import available_bytes
from shoal_store.slots import OwnedSlots

MAP_BYTES = 1 << 40
"""Of addresses, not of the disk: the most that an index can grow to."""
READERS_MAX = 1024
FOLDER = "index"
LMDB_MAGIC = 0xBEEFC0DE.to_bytes(4, sys.byteorder)
HEAD_BYTES, MAGIC_AT, PAGE_BYTES_AT = 44, slice(16, 20), slice(40, 44)
"""Of the first two pages, each of which begins with these bytes."""
SPACE_BYTES_MIN = 1 << 20
"""With less than this available, a write that failed has failed for want of space."""
LOCK_FILE_BYTES = 64 * READERS_MAX + 128
"""As LMDB makes it: a cache line a reader, and two."""
REVIVE_SECONDS_MAX = 2.0
REVIVE_LOOK_SECONDS = 0.01
FORMAT = 2
FORMAT_WITHOUT_LEDGER = 1
"""Read as it is; the target that opens it to write begins the ledger."""
TABLES = ("records", "versions", "payloads", "uploads", "tombstones", "slots", "meta")


FAULTS = (lmdb.Error, lmdb.PanicError)
"""LMDB has no class for an I/O error; after one in its meta page it takes no more writes, and says panic."""
DAMAGE = (
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.NotFoundError,
    lmdb.PageNotFoundError,
)
"""When an index is opened. Other errors of LMDB speak of the machine."""
OUT_OF_SPACE = (lmdb.MapFullError, lmdb.DiskError)

Table: TypeAlias = "lmdb._Database"
"""What `open_db` returns; the package has no public name for it."""


class Reading:
    """A look at the index. A class, because a generator as context manager takes three times as long to enter."""

    __slots__ = ("_buffers", "_environment", "_path", "_transaction")

    def __init__(self, environment: lmdb.Environment, path: Path, *, buffers: bool) -> None:
        self._environment = environment
        self._path = path
        self._buffers = buffers

    def __enter__(self) -> lmdb.Transaction:
        try:
            begin = self._environment.begin
            self._transaction: lmdb.Transaction = begin(buffers=True) if self._buffers else begin()
        except lmdb.Error as error:
            raise explained(error, self._path) from error
        return self._transaction

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._transaction.abort()
        if isinstance(error, lmdb.Error):
            raise explained(error, self._path) from error


def explained(error: lmdb.Error, path: Path) -> Exception:
    """What an error of LMDB means for whoever looks at the index of the mountpath at `path`."""
    if isinstance(error, lmdb.ReadersFullError):
        return TooBusy(f"the index of {path} has {READERS_MAX} readers: repeat after a pause")
    if isinstance(error, lmdb.PanicError) or "closed" in str(error):
        return Unavailable(
            f"the index of {path} is opened anew after an error of its disk: repeat after a pause"
        )
    if isinstance(error, lmdb.MemoryError | lmdb.MapResizedError):
        return error
    # A look at a sound index has no other errors; on a damaged page LMDB has many names for what it meets.
    return DataCorrupt(f"the index of {path} is damaged ({error}): run `shoal fsck`")


class Index:
    """Use `read()` for a short look and never hold it across an await; `write()` only in the target's committer."""

    def __init__(
        self,
        mountpath_id: str,
        path: Path,
        *,
        writable: bool,
        sync: bool = True,
        met: Callable[[str], None] | None = None,
        folder: str = FOLDER,
    ) -> None:
        """`met` hears of I/O errors of the disk; `folder` has another name while an index is rebuilt."""
        self.mountpath_id = mountpath_id
        self._met = met
        self.path = path
        self._place = path / folder
        self._writable = writable
        self._sync = sync
        self._writing = threading.Lock()
        self._use = held(self._place, shared=True)
        try:
            self._open(create=writable)
        except BaseException:
            self._release()
            raise

    def _open(self, *, create: bool) -> None:
        self._owned_at: tuple[int, bytes] = (-1, b"")
        """Of the last transaction that looked: its number, and `bitmap_of_look`. One tuple, since threads look, too."""
        path = self.path
        if create:
            allocate_lock_file(self._place / "lock.mdb")
        try:
            self._environment = lmdb.open(
                str(self._place),
                map_size=MAP_BYTES,
                max_readers=READERS_MAX,
                max_dbs=len(TABLES),
                readonly=not self._writable,
                create=create,
                sync=self._sync,
                readahead=False,
            )
            self.look: Callable[[], lmdb.Transaction] = self._environment.begin
            """As `read`, at a third of its cost, for one value or two, which are bytes; errors of LMDB are the caller's
            to explain. LMDB's own method, since one of ours around it costs as much as the look."""
            try:
                self._open_tables(create=create)
            except BaseException:
                # A process may have it open once: whoever tries again must not find it so.
                self._environment.close()
                raise
        except lmdb.DiskError as error:
            raise OutOfSpace(f"the index of {path} cannot be made: the disk is full; add space") from error
        except lmdb.Error as error:
            refusal = DataCorrupt if isinstance(error, DAMAGE) else ConfigurationError
            raise refusal(
                f"the index of {path} cannot be opened ({error}): `shoal fsck --rebuild-index` makes it anew"
            ) from error

    def _open_tables(self, *, create: bool) -> None:
        # No tables are made where anything was ever written: if damage hid them, it would seem to be empty.
        is_new = create and not self._transactions()
        if create:
            # LMDB syncs its file, never the folder that holds the file's name.
            sync_directory(self._place, "index name")
        # Before any table is made: what another Shoal wrote stays as it is.
        format = self._check_format(made=not is_new)
        tables = {name: self._environment.open_db(name.encode(), create=is_new) for name in TABLES}
        self.records, self.versions, self.payloads = tables["records"], tables["versions"], tables["payloads"]
        self.uploads, self.tombstones = tables["uploads"], tables["tombstones"]
        self.slots, self.meta = tables["slots"], tables["meta"]
        self._environment.reader_check()
        if create and format != FORMAT:
            self._stamp()
            format = self._check_format(made=True)
        if format != FORMAT_WITHOUT_LEDGER:
            with self.read() as transaction:
                self._ledger_at(transaction, transaction.id())

    def read(self, *, buffers: bool = True) -> Reading:
        """`buffers`: values are views, which end with the look; else bytes, which a walk over many small ones gets
        in a third of the time."""
        return Reading(self._environment, self.path, buffers=buffers)

    @contextmanager
    def write(self) -> Iterator[lmdb.Transaction]:
        """Committed, synced, when the block ends without an exception."""
        with self._writing, self._transaction() as transaction:
            self._ledger = self._current_ledger(transaction)
            yield transaction
            self._put_ledger(transaction)

    @contextmanager
    def _transaction(self) -> Iterator[lmdb.Transaction]:
        self._revive()
        transactions = self._transactions()
        try:
            with self._environment.begin(write=True) as transaction:
                transactions = self._transactions()
                yield transaction
        except lmdb.Error as error:
            failure = self._explained_write(error, transactions)
            with suppress(OutOfSpace, Unavailable):  # the next write tries again, and tells
                self._revive()
            raise failure from error

    def put_row(self, transaction: lmdb.Transaction, table: str, *, key: bytes, value: bytes) -> None:
        """In the transaction that `write` gave: rows of sealed tables change by this and `delete_row` alone."""
        self._ledger.replace(table, transaction.replace(key, value, db=getattr(self, table)), value)

    def delete_row(self, transaction: lmdb.Transaction, table: str, *, key: bytes) -> bool:
        """Whether there was one."""
        removed = transaction.pop(key, db=getattr(self, table))
        self._ledger.replace(table, removed, None)
        return removed is not None

    def ledger(self, transaction: lmdb.Transaction) -> Ledger | None:
        """None for an index that was last written by a Shoal which kept none. Raises DataCorrupt."""
        value = transaction.get(LEDGER, db=self.meta)
        return None if value is None else Ledger.of(value)

    def _current_ledger(self, transaction: lmdb.Transaction) -> Ledger:
        """Of the commit before. Raises Unavailable, and tells that the disk has failed."""
        try:
            return self._ledger_at(transaction, transaction.id() - 1)
        except DataCorrupt as error:
            if self._met is not None:
                self._met(error.message)
            raise Unavailable(error.message) from error

    def _ledger_at(self, transaction: lmdb.Transaction, number: int) -> Ledger:
        """Raises DataCorrupt when it is not of this number: a page that was written with it, or later, is not there."""
        ledger = Ledger.of(transaction.get(LEDGER, db=self.meta))
        if ledger.transaction != number:
            raise DataCorrupt(
                f"the index of {self.path} is in an older state than its disk was told to keep (transaction "
                f"{ledger.transaction}, not {number}): `shoal fsck --rebuild-index` makes it anew"
            )
        return ledger

    def _put_ledger(self, transaction: lmdb.Transaction) -> None:
        transaction.put(LEDGER, self._ledger.encoded(transaction.id()), db=self.meta)

    def _explained_write(self, error: lmdb.Error, transactions: int) -> OutOfSpace | Unavailable:
        no_space = isinstance(error, OUT_OF_SPACE) or self._disk_is_full()
        if no_space and self._transactions() == transactions:
            return OutOfSpace(f"the index of {self.path} cannot grow ({error}): delete objects or add space")
        if self._met is not None and type(error) in FAULTS and not no_space:
            self._met(str(error))
        return Unavailable(
            f"the index of {self.path} takes no writes ({error}): look at the disk", outcome="unknown"
        )

    def _revive(self) -> None:
        """After a failed write of a meta page LMDB lets nobody in this process begin anything, not even a look, until
        the environment is opened anew. Waits a while for looks that have begun, in whose hands it must not be closed.
        Raises Unavailable and OutOfSpace."""
        try:
            self._environment.begin().abort()
            return
        except lmdb.ReadersFullError:
            return
        except lmdb.Error as error:
            cause = error
        deadline = time.monotonic() + REVIVE_SECONDS_MAX
        while self._has_looks():
            if time.monotonic() > deadline:
                raise Unavailable(f"the index of {self.path} is still read ({cause}): repeat after a pause")
            time.sleep(REVIVE_LOOK_SECONDS)
        self._environment.close()
        try:
            self._open(create=False)
        except (OSError, ConfigurationError, DataCorrupt) as error:
            self._environment.close()
            if isinstance(error, OSError):
                raise storage_error(error, f"the index of {self.path} cannot be opened anew") from error
            raise Unavailable(error.message) from error
        get_logger().warning("index-opened-anew", mountpath=self.mountpath_id, reason=str(cause))

    def _has_looks(self) -> bool:
        """Whether transactions of this process are open; idle readers have a dash for their snapshot."""
        try:
            lines = self._environment.readers().splitlines()[1:]
        except lmdb.Error:
            return False  # closed already
        return any(
            pid == str(os.getpid()) and snapshot != "-" for pid, _thread, snapshot in map(str.split, lines)
        )

    def _transactions(self) -> int:
        """How many have been committed since the index was made."""
        return int(self._environment.info()["last_txnid"])

    def _disk_is_full(self) -> bool:
        """LMDB calls a write that the disk took in part an I/O error; that is how most full disks show."""
        with suppress(Unavailable):
            return available_bytes(self.path)[1] < SPACE_BYTES_MIN
        return False

    def read_ahead(self, transaction: lmdb.Transaction, keys: Keys, *, rows: int) -> None:
        """What a walk over about so many records, the first of these keys, will need of the disk."""
        # LMDB keeps its tables as values of a table that has no name.
        if (table := table_of(transaction.get(b"records"))) is not None:
            page_bytes = self._environment.stat()["psize"]
            read_ahead(self._place / "data.mdb", table, keys, rows=rows, page_bytes=page_bytes)

    def owned(self, transaction: lmdb.Transaction) -> OwnedSlots:
        return OwnedSlots.of(transaction.get(b"owned", db=self.slots))

    def check_owner(self, transaction: lmdb.Transaction, slot: int) -> None:
        self._check(self.owned(transaction), slot)

    def check_owner_of_look(self, transaction: lmdb.Transaction, slot: int) -> None:
        """As `check_owner`, in a transaction that writes nothing."""
        number, bitmap = self._owned_at
        if transaction.id() != number:
            bitmap = self.bitmap_of_look(transaction)
        if not bitmap[slot >> 3] & 1 << (slot & 7):
            self.check_owner(transaction, slot)

    def bitmap_of_look(self, transaction: lmdb.Transaction) -> bytes:
        """Of the slots held: bit `slot & 7` of byte `slot >> 3`. What one transaction that writes nothing finds holds
        for all of its number, so the table is looked up once for each commit; a number that a writer gave up is used
        again."""
        number, bitmap = self._owned_at
        if transaction.id() != number:
            bitmap = self.owned(transaction).bitmap
            self._owned_at = transaction.id(), bitmap
        return bitmap

    def _check(self, owned: OwnedSlots, slot: int) -> None:
        if not owned.holds(slot):
            raise StaleEpoch(
                f"slot {slot} is not held here: fetch the cluster map again", epoch=str(owned.epoch)
            )

    def own(self, owned: OwnedSlots) -> None:
        with self.write() as transaction:
            # Also when nothing is new: a start that writes meets a damaged list of free pages before any commit does.
            transaction.put(b"owned", owned.encoded, db=self.slots)

    def bind(self, mountpath_ids: Sequence[str]) -> None:
        """Names are spread over the target's mountpaths by their ids: with another set, objects would be sought in
        the wrong index and seem lost. Raises ConfigurationError for another set than the first."""
        ids = ",".join(sorted(mountpath_ids)).encode()
        with self.write() as transaction:
            known = bytes(transaction.get(b"mountpaths", ids, db=self.meta))
            if known == ids:
                transaction.put(b"mountpaths", ids, db=self.meta)
        if known != ids:
            raise ConfigurationError(
                f"{self.path} was used with the mountpaths {known.decode()} and is opened with {ids.decode()}: "
                "start the target with the first ones, since objects do not move between mountpaths yet"
            )

    def _stamp(self) -> None:
        """Begin the ledger, with what is there: a look at every row."""
        with self._transaction() as transaction:
            self._ledger = Ledger(0, dict.fromkeys(SUMMED, 0))
            for table in SUMMED:
                with transaction.cursor(db=getattr(self, table)) as cursor:
                    for value in cursor.iternext(keys=False, values=True):
                        self._ledger.replace(table, None, value)
            self._put_ledger(transaction)
            transaction.put(b"format", bytes((FORMAT,)), db=self.meta)

    def _check_format(self, *, made: bool) -> int:
        """What it is, 0 for none. `made`: whether an index without a format is refused too."""
        found = b""
        with suppress(lmdb.NotFoundError):
            meta = self._environment.open_db(b"meta", create=False)
            with self.read() as transaction:
                found = bytes(transaction.get(b"format", b"", db=meta))
        if not found and not made:
            return 0
        if found not in (bytes((FORMAT,)), bytes((FORMAT_WITHOUT_LEDGER,))):
            self._environment.close()
            raise ConfigurationError(
                f"the index of {self.path} has format {found.hex() or 'none'}, this Shoal knows {FORMAT}: "
                "use the Shoal that wrote it"
            )
        return found[0]

    def used_bytes(self) -> int:
        """Of the file, at most: pages of which some may be free."""
        return int((self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"])

    def last_transaction(self) -> int:
        return self._transactions()

    def copy_to(self, descriptor: int) -> Snapshot:
        """All that is live now, as an LMDB file without free pages. Blocks; meanwhile LMDB reuses no page."""
        with self.read() as transaction:
            counts = {name: transaction.stat(getattr(self, name))["entries"] for name in TABLES}
            self._environment.copyfd(descriptor, compact=True, txn=transaction)
            ledger = self.ledger(transaction)
            return Snapshot(transaction.id(), counts, ledger.sums if ledger is not None else {})

    def close(self) -> None:
        """Again for one that is closed."""
        self._environment.close()
        self._release()

    def _release(self) -> None:
        if self._use >= 0:
            os.close(self._use)
            self._use = -1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a copy of an index has."""

    transaction: int
    """The last one that it has."""
    counts: Mapping[str, int]
    """Rows by table."""
    sums: Mapping[str, int]
    """Of the ledger, which is empty in an index without one."""


def held(place: Path, *, shared: bool) -> int:
    """A lock on the folder of an index, until the descriptor is closed: shared by those who have it open, so that no
    rebuild puts another in its place under them. Raises OSError, and ConfigurationError when it is not to be had."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), place.stat()):
            return descriptor
    except BlockingIOError:
        """As when it was replaced at this very moment."""
    os.close(descriptor)
    if shared:
        raise ConfigurationError(
            f"the index of {place.parent} is being rebuilt: wait for the end, then repeat"
        )
    raise ConfigurationError(
        f"the index of {place.parent} is in use: stop the target and the gateways of its host first (`shoal down`), or "
        "disable the mountpath and restart them"
    )


def header_trouble(path: Path) -> str:
    """Why LMDB would refuse the index of this mountpath or, worse, take its file for a new one; empty for neither."""
    try:
        with (path / FOLDER / "data.mdb").open("rb") as file:
            first = file.read(HEAD_BYTES)
            file.seek(int.from_bytes(first[PAGE_BYTES_AT], sys.byteorder))
            heads = (first, file.read(HEAD_BYTES))
    except FileNotFoundError:
        return "its index is missing"
    sound = all(head[MAGIC_AT] == LMDB_MAGIC for head in heads)
    return "" if sound else "its index is no LMDB file any more"


def allocate_lock_file(path: Path) -> None:
    """LMDB maps its lock file with holes: on a full disk, the first touch of one would kill the process (SIGBUS).

    Call it before LMDB opens the file, never after: to close any descriptor of it gives up the process's lock on it,
    and the next process to open the index would set readers, mutexes and transaction number to zero under those that
    have it open. Raises OSError where there is no space.
    """
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, LOCK_FILE_BYTES)
