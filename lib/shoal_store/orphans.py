"""`cleanup`: the collection of orphans, in small steps, while the target goes on serving and committing.

An orphan is a chunk file or manifest that no row names, or a payload without its record. For a group of folders of all
mountpaths at a time: their files are listed, then those in flight taken off, then those that a row of any index names.
In this order, since a file is named before it leaves the table of writes in flight; and `suspects.py` has what is
committed meanwhile. Rows move from `uploads` to `records` to `versions` only, so the tables are read in that order.
Before anything goes, every index proves by its ledger that it has all its rows: one that its disk has lost may have
named anything, too. Afterwards, because a row that was not there when we looked is not there now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lmdb

from shoal_core.errors import DataCorrupt
from shoal_store.checking import TABLES, IndexChecks, rest
from shoal_store.chunkfile import chunk_path
from shoal_store.fsck import FILE_NAME
from shoal_store.in_flight import in_flight_on
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.manifest import manifest_path
from shoal_store.mountpaths import Mountpaths
from shoal_store.record import ChunkPlace, decode_record
from shoal_store.suspects import Suspects
from shoal_store.uploads import decode_part, is_part

ROWS_OF_STEP = 200
PAYLOADS_OF_STEP = 1000
FILES_OF_STEP = 100
SUSPECTS_MAX = 500_000
"""About so many files are looked for in one walk through the indexes."""
FOLDERS = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class Step:
    """What was done since the step before."""

    rows: int = 0
    """Looked at."""
    removed: int = 0
    bytes: int = 0
    """Of the files that were removed; those of a file with another link stay in use."""


class DamagedRows(DataCorrupt):
    """Rows that cannot be read may have named anything, so nothing can be called an orphan."""


def collect(
    indexes: Mapping[str, Index], mountpaths: Mountpaths, suspects: Suspects, *, age_seconds_min: float
) -> Iterator[Step]:
    """Removes the orphans that have been left alone for `age_seconds_min`. Blocks; its caller sets the pace.

    Raises MountpathUnavailable, since what is away may name files on what is here, and DamagedRows.
    """
    collection = Collection(indexes, mountpaths, suspects, age_seconds_min)
    try:
        yield from collection.files()
    finally:
        suspects.forget()
    for index in indexes.values():
        yield from payloads_collected(index)


class Collection:
    def __init__(
        self,
        indexes: Mapping[str, Index],
        mountpaths: Mountpaths,
        suspects: Suspects,
        age_seconds_min: float,
    ) -> None:
        self._indexes = indexes
        self._mountpaths = mountpaths
        self._suspects = suspects
        self._age_seconds_min = age_seconds_min

    def files(self) -> Iterator[Step]:
        remaining = iter(FOLDERS)
        while True:
            found = set[bytes]()
            yield from self._list(remaining, found)
            if not found:
                return
            for folder in self._mountpaths.all:
                found -= in_flight_on(self._mountpaths.path(folder.id))
            self._suspects.suspect(found)
            yield from self._walk()
            yield from self._remove([each for each in found if self._suspects.is_suspected(each)])

    def _list(self, remaining: Iterator[str], found: set[bytes]) -> Iterator[Step]:
        """File ids in the next folders; a chunk and its manifest have the same."""
        for name in remaining:
            for folder in self._mountpaths.all:
                names = os.listdir(self._mountpaths.path(folder.id) / "data" / name)
                found.update(bytes.fromhex(each[:32]) for each in names if FILE_NAME.fullmatch(each))
            yield Step()
            if len(found) >= SUSPECTS_MAX:
                return

    def _walk(self) -> Iterator[Step]:
        """All indexes, since a record may name files on any mountpath."""
        for index in self._indexes.values():
            for table in ("uploads", "records", "versions"):
                yield from walked(index, table, self._suspects)

    def _remove(self, left: list[bytes]) -> Iterator[Step]:
        for index in self._indexes.values() if left else ():
            yield proved(index)
        for start in range(0, len(left), FILES_OF_STEP):
            old = [each for each in left[start : start + FILES_OF_STEP] if self._is_old(each)]
            sizes: list[int] = []
            for file_id in self._suspects.condemn(old):
                for path in self._paths(file_id):
                    with suppress(
                        OSError
                    ):  # not there, or on a disk that fails: the next collection tries again
                        sizes.append(unlinked_bytes(path))
            yield Step(removed=len(sizes), bytes=sum(sizes))

    def _paths(self, file_id: bytes) -> list[Path]:
        """Where it may be. The manifest first, which names the others."""
        chunks = [chunk_path(self._mountpaths.path(each.id), file_id) for each in self._mountpaths.all]
        return [*map(manifest_path, chunks), *chunks]

    def _is_old(self, file_id: bytes) -> bool:
        """Whoever does not know the table of writes in flight, a gateway of an older Shoal, has this much time."""
        newest = time.time() - self._age_seconds_min
        for path in self._paths(file_id) if self._age_seconds_min else ():
            with suppress(FileNotFoundError):
                if path.lstat().st_ctime > newest:
                    return False
        return True


def unlinked_bytes(path: Path) -> int:
    """What its removal frees. Raises OSError."""
    found = path.lstat()
    path.unlink()
    return found.st_size if found.st_nlink == 1 else 0


def walked(index: Index, table: str, suspects: Suspects) -> Iterator[Step]:
    """Clears of suspicion what the rows of the table name. Raises DamagedRows."""
    last = b""
    while True:
        named: list[ChunkPlace] = []
        rows = 0
        with index.read() as transaction, transaction.cursor(db=getattr(index, table)) as cursor:
            more = cursor.set_range(last + b"\0") if last else cursor.first()
            while more and rows < ROWS_OF_STEP:
                if (key := bytes(cursor.key())) <= last:
                    raise DamagedRows(damage(index, table, key, "its keys are out of order"))
                named += chunks_of(index, table, key, cursor.value())
                rows, last, more = rows + 1, key, cursor.next()
        if not rows:
            return
        suspects.clear(named)
        yield Step(rows=rows)


def proved(index: Index) -> Step:
    """Raises DamagedRows when not all rows are those that were committed."""
    checks = IndexChecks(index, {index.mountpath_id: index.path})
    with index.read() as transaction:
        for table in TABLES:
            for finding in checks.keys(transaction, table, rest=rest):
                raise DamagedRows(
                    f"nothing can be called an orphan: rows of {index.mountpath_id} are not those that were committed "
                    f"({finding.kind} {finding.detail}), and its disk may have lost some that named any file: "
                    "`shoal fsck --rebuild-index` makes the index anew"
                )
    return Step()


def chunks_of(index: Index, table: str, key: bytes, value: bytes | memoryview) -> tuple[ChunkPlace, ...]:
    try:
        if table != "uploads":
            return decode_record(key, value).chunks
        return decode_part(key, value).chunks if is_part(key) else ()
    except DataCorrupt as error:
        raise DamagedRows(damage(index, table, key, error.message)) from error


def damage(index: Index, table: str, key: bytes, what: str) -> str:
    name = key[BUCKET_ID_BYTES:][:100].decode(errors="replace")
    return (
        f"nothing can be called an orphan while `{table}` of {index.mountpath_id} has a damaged row, which may name "
        f"any file ({name!r}: {what}): `shoal fsck` lists them, and a PUT or DELETE of the object takes one away"
    )


def payloads_collected(index: Index) -> Iterator[Step]:
    """A payload goes in the transaction in which its record does; only a damaged record leaves its own behind."""
    after = b""
    while listed := payloads_after(index, after):
        after = max(listed)
        for table in ("records", "versions"):
            yield from inline_walked(index, table, listed)
        unnamed = sorted(listed)
        if unnamed:
            yield proved(index)
        for start in range(0, len(unnamed), PAYLOADS_OF_STEP):
            yield payloads_removed(index, unnamed[start : start + PAYLOADS_OF_STEP])


def payloads_after(index: Index, after: bytes) -> set[bytes]:
    found: set[bytes] = set()
    with index.read() as transaction, transaction.cursor(db=index.payloads) as cursor:
        more = cursor.set_range(after + b"\0") if after else cursor.first()
        while more and len(found) < SUSPECTS_MAX:
            found.add(bytes(cursor.key()))
            more = cursor.next()
    return found


def inline_walked(index: Index, table: str, listed: set[bytes]) -> Iterator[Step]:
    """Takes off the list what the rows of the table name. Raises DamagedRows."""
    last = b""
    while True:
        rows = 0
        with index.read() as transaction, transaction.cursor(db=getattr(index, table)) as cursor:
            more = cursor.set_range(last + b"\0") if last else cursor.first()
            while more and rows < ROWS_OF_STEP:
                key = bytes(cursor.key())
                try:
                    record = decode_record(key, cursor.value())
                except DataCorrupt as error:
                    raise DamagedRows(damage(index, table, key, error.message)) from error
                if record.inline:
                    listed.discard(key[:BUCKET_ID_BYTES] + record.version)
                rows, last, more = rows + 1, key, cursor.next()
        if not rows:
            return
        yield Step(rows=rows)


def payloads_removed(index: Index, keys: list[bytes]) -> Step:
    """In one synced transaction."""
    with index.write() as transaction:
        sizes = [removed_bytes(transaction, index, key) for key in keys]
    return Step(removed=sum(size is not None for size in sizes), bytes=sum(size or 0 for size in sizes))


def removed_bytes(transaction: lmdb.Transaction, index: Index, key: bytes) -> int | None:
    """None for what has gone meanwhile."""
    value = transaction.get(key, db=index.payloads)
    size = None if value is None else len(value)
    transaction.delete(key, db=index.payloads)
    return size
