"""`shoal fsck`: read everything of some mountpaths and say what is damaged, missing or left over. Changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import lmdb

from shoal_core.errors import DataCorrupt
from shoal_store.checking import TABLES, Finding, IndexChecks, Owner
from shoal_store.index import Index, header_trouble
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.record import Record

FINDINGS_MAX = 1000
BATCH = 1000
FILE_NAME = re.compile(r"[0-9a-f]{32}(\.manifest)?")
Progress = Callable[[str, int], None]
"""Called with the mountpath and the number of objects looked at so far."""


@dataclass(slots=True)
class Report:
    objects: int = 0
    bytes: int = 0
    chunk_files: int = 0
    damages: int = 0
    orphans: int = 0
    findings: list[Finding] = field(default_factory=list)
    """The first FINDINGS_MAX."""

    @property
    def clean(self) -> bool:
        return not self.damages

    def add(self, finding: Finding) -> None:
        if finding.harmless:
            self.orphans += 1
        else:
            self.damages += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)


def verify(mountpaths: Mapping[str, Path], *, progress: Progress | None = None) -> Report:
    """All mountpaths of one target, because a record may name chunks on any of them. The target may be running;
    what it writes meanwhile may then show as an orphan."""
    report = Report()
    # Listed first: a file that appears later can then not be mistaken for an orphan.
    files = {name: stored_files(path) for name, path in mountpaths.items()}
    named: set[tuple[str, bytes]] = set()
    whole = True
    for name, path in mountpaths.items():
        if trouble := header_trouble(path):
            whole = False
            report.add(Finding("damaged-index", name, "index", f"{trouble}: --rebuild-index makes it anew"))
            continue
        try:
            with closing(Index(name, path, writable=False)) as index:
                whole &= IndexCheck(index, mountpaths, report, named, progress).run()
        except DataCorrupt as error:
            whole = False
            report.add(Finding("damaged-index", name, "index", error.message))
    for name, found in files.items():
        report.chunk_files += sum(not path.suffix for path in found)
        if not whole:
            # What the rest of the index would have named is not known, so nothing can be called an orphan.
            continue
        for path in found:
            if (name, bytes.fromhex(path.stem)) not in named and os.path.lexists(path):
                kind = "orphan-manifest" if path.suffix else "orphan-chunk"
                report.add(Finding(kind, name, path.name))
    return report


class IndexCheck:
    """One index, and whatever its records name. First the index itself, in one snapshot; then, in batches, the chunk
    files: reading them takes long, and LMDB could reuse no page as long as a transaction saw the old ones."""

    def __init__(
        self,
        index: Index,
        mountpaths: Mapping[str, Path],
        report: Report,
        named: set[tuple[str, bytes]],
        progress: Progress | None,
    ) -> None:
        self._index = index
        self._checks = IndexChecks(index, mountpaths)
        self._report = report
        self._named = named
        self._progress = progress
        self._payloads: set[bytes] = set()

    def run(self) -> bool:
        """Whether all rows are there, whatever each of them is worth."""
        whole = True
        with self._index.read() as transaction:
            for table in TABLES:
                whole &= self._check_table(transaction, table)
            self._check_payloads(transaction)
        for table in TABLES:
            key = b""
            while rows := self._batch(table, after=key):
                for key, owner in rows:
                    self._check_files(table, key, owner)
        return whole

    def _check_table(self, transaction: lmdb.Transaction, table: str) -> bool:
        whole = True
        for finding in self._checks.keys(transaction, table):
            whole = False
            self._report.add(finding)
        with transaction.cursor(db=self._checks.table(table)) as cursor:
            for count, (raw_key, value) in enumerate(cursor, 1):
                key = bytes(raw_key)
                owner, findings = self._checks.row(transaction, table, key, value)
                for finding in findings:
                    self._report.add(finding)
                if owner is not None:
                    self._count(key, owner)
                if self._progress and count % BATCH == 0:
                    self._progress(self._index.mountpath_id, self._report.objects)
        return whole

    def _count(self, key: bytes, owner: Owner) -> None:
        self._name(owner)
        if not isinstance(owner, Record):
            return
        self._report.objects += not owner.delete_marker
        self._report.bytes += owner.size
        if owner.inline:
            self._payloads.add(key[:BUCKET_ID_BYTES] + owner.version)

    def _name(self, owner: Owner) -> None:
        self._named.update((chunk.mountpath, chunk.file_id) for chunk in owner.chunks)

    def _check_payloads(self, transaction: lmdb.Transaction) -> None:
        with transaction.cursor(db=self._index.payloads) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                if bytes(key) not in self._payloads:
                    self._report.add(self._checks.finding("orphan-payload", "records", bytes(key)))

    def _batch(self, table: str, *, after: bytes) -> list[tuple[bytes, Owner]]:
        """The next records or parts that name files. Damaged ones have been reported already."""
        found: list[tuple[bytes, Owner]] = []
        with self._index.read() as transaction, transaction.cursor(db=self._checks.table(table)) as cursor:
            more = cursor.set_range(after + b"\0") if after else cursor.first()
            while more and len(found) < BATCH:
                # Keys out of order, which have been reported, must not lead round in circles.
                if (key := bytes(cursor.key())) <= after:
                    break
                with suppress(DataCorrupt):
                    owner = self._checks.owner(table, key, cursor.value())
                    if owner is not None and owner.chunks:
                        found.append((key, owner))
                more = cursor.next()
        return found

    def _check_files(self, table: str, key: bytes, owner: Owner) -> None:
        self._name(owner)
        for found in self._checks.files(table, key, owner):
            if isinstance(found, Finding):
                self._report.add(found)


def stored_files(mountpath: Path) -> list[Path]:
    """Chunk files and manifests; anything else under data/ is not Shoal's."""
    return [path for path in (mountpath / "data").glob("??/*") if FILE_NAME.fullmatch(path.name)]
