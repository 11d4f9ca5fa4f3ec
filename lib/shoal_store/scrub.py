"""`scrub`: what `shoal fsck` verifies, in small steps, for a target that goes on serving and committing meanwhile.

Each step is short and blocks, so that its caller decides on thread and pace. Between steps nothing is held: no
transaction, no lock. What is replaced or removed in between is looked at once more before it is called damaged.
Orphans are left to `shoal fsck`, which looks at everything in one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shoal_core.errors import DataCorrupt
from shoal_store.checking import TABLES, Finding, IndexChecks, Owner, rest
from shoal_store.index import Index
from shoal_store.mountpaths import Mountpaths
from shoal_store.record import Record

BATCH_ROWS = 200
BATCH_BYTES = 64 << 20
"""Of objects, after which a batch ends: what an interrupted scrub does again."""
STEP_BYTES = 4 << 20
"""Of chunk files, after which a step ends."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Everything up to and with this row has been verified."""

    mountpath: str
    table: int
    """Number in TABLES."""
    key: bytes


START = Position("", 0, b"")


@dataclass(frozen=True, slots=True)
class Step:
    """What was done since the step before."""

    rows: int = 0
    objects: int = 0
    bytes_read: int = 0
    findings: tuple[Finding, ...] = ()
    position: Position | None = None
    """Where a scrub that is interrupted now goes on; None in the middle of a batch."""


def scrub(indexes: Mapping[str, Index], mountpaths: Mountpaths, *, after: Position = START) -> Iterator[Step]:
    """All that a target stores, or what follows a position of an earlier scrub."""
    folders = {folder.id: folder.path for folder in mountpaths.all}
    for mountpath_id, index in sorted(indexes.items()):
        if mountpath_id < after.mountpath:
            continue
        try:
            checks = IndexChecks(index, folders)
            for number in range(len(TABLES)):
                position = Position(mountpath_id, number, b"")
                if after.mountpath < mountpath_id or after.table <= number:
                    yield from TableScrub(checks, max(position, after)).steps()
        except DataCorrupt as error:
            yield Step(findings=(Finding("damaged-index", mountpath_id, "index", error.message),))


class TableScrub:
    """One table of one index, from a position on."""

    def __init__(self, checks: IndexChecks, after: Position) -> None:
        self._checks = checks
        self._table = TABLES[after.table]
        self._after = after
        self._rows = self._objects = 0
        self._findings: list[Finding] = []
        self._bytes_read = 0

    def steps(self) -> Iterator[Step]:
        if not self._after.key:
            yield self._look_at_keys()
        while (owners := self._read_batch()) is not None:
            for key, owner in owners:
                for found in self._checks.files(self._table, key, owner):
                    if isinstance(found, Finding):
                        self._findings.append(found)
                    else:
                        self._bytes_read += found
                    if self._bytes_read >= STEP_BYTES:
                        yield self._step(None)
            yield self._step(self._after)

    def _look_at_keys(self) -> Step:
        """In one transaction, since only one snapshot has a number of keys to compare with."""
        with self._checks.index.read() as transaction:
            self._findings += self._checks.keys(transaction, self._table, rest=rest)
        return self._step(None)

    def _read_batch(self) -> list[tuple[bytes, Owner]] | None:
        """Verifies the next rows, and returns those that name files. None at the end."""
        owners: list[tuple[bytes, Owner]] = []
        rows, size, last = 0, 0, self._after.key
        table = self._checks.table(self._table)
        with self._checks.index.read() as transaction, transaction.cursor(db=table) as cursor:
            more = cursor.set_range(last + b"\0") if last else cursor.first()
            # Keys out of order, which have been reported, must not lead round in circles.
            while more and rows < BATCH_ROWS and size < BATCH_BYTES and (key := bytes(cursor.key())) > last:
                owner, findings = self._checks.row(transaction, self._table, key, cursor.value())
                self._findings += findings
                rows, last = rows + 1, key
                if owner is not None:
                    size += owner.size
                    self._count(owner)
                    owners += [(key, owner)] if owner.chunks else []
                more = cursor.next()
        self._rows += rows
        self._after = Position(self._after.mountpath, self._after.table, last)
        return owners if rows else None

    def _count(self, owner: Owner) -> None:
        if isinstance(owner, Record):
            self._objects += not owner.delete_marker
            self._bytes_read += owner.size if owner.inline else 0

    def _step(self, position: Position | None) -> Step:
        done = Step(self._rows, self._objects, self._bytes_read, tuple(self._findings), position)
        self._rows = self._objects = self._bytes_read = 0
        self._findings = []
        return done
