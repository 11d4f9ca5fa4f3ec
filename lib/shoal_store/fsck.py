"""`shoal fsck`: read everything of some mountpaths and say what is damaged, missing or left over. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import xxhash

from shoal_core.errors import DataCorrupt, ShoalError
from shoal_store.chunkfile import BLOCK_BYTES, ChunkReader, chunk_path
from shoal_store.index import Index, Table
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.record import Record, decode_record

FINDINGS_MAX = 1000
Progress = Callable[[str, int], None]
"""Called with the mountpath and the number of objects looked at so far."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    """`damaged-record`, `damaged-payload`, `damaged-chunk`, `missing-chunk`, `keys-out-of-order`, `key-count`,
    `orphan-chunk` or `orphan-payload`. Orphans cost space and nothing else."""
    mountpath: str
    what: str
    detail: str = ""

    @property
    def harmless(self) -> bool:
        return self.kind.startswith("orphan-")


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
    files = {name: chunk_files(path) for name, path in mountpaths.items()}
    named: set[tuple[str, bytes]] = set()
    for name, path in mountpaths.items():
        index = Index(name, path, writable=False)
        try:
            IndexCheck(index, mountpaths, report, named, progress).run()
        finally:
            index.close()
    for name, found in files.items():
        report.chunk_files += len(found)
        for file_id in found:
            if (name, file_id) not in named and chunk_path(mountpaths[name], file_id).exists():
                report.add(Finding("orphan-chunk", name, file_id.hex()))
    return report


class IndexCheck:
    """One index, and whatever its records name."""

    def __init__(
        self,
        index: Index,
        mountpaths: Mapping[str, Path],
        report: Report,
        named: set[tuple[str, bytes]],
        progress: Progress | None,
    ) -> None:
        self._index = index
        self._mountpaths = mountpaths
        self._report = report
        self._named = named
        self._progress = progress
        self._payloads: set[bytes] = set()

    def run(self) -> None:
        with self._index.read() as transaction:
            for table in (self._index.records, self._index.versions):
                self._check_table(transaction, table)
            self._check_payloads(transaction)

    def _check_table(self, transaction: lmdb.Transaction, table: Table) -> None:
        previous, count = b"", 0
        with transaction.cursor(db=table) as cursor:
            for key, value in cursor:
                key, count = bytes(key), count + 1
                if key <= previous:
                    self._add("keys-out-of-order", key)
                previous = key
                try:
                    self._check_record(transaction, key, decode_record(key, value))
                except DataCorrupt as error:
                    self._add("damaged-record", key, error.message)
                if self._progress and count % 1000 == 0:
                    self._progress(self._index.mountpath_id, self._report.objects)
        if count != (entries := transaction.stat(table)["entries"]):
            self._add("key-count", b"", f"{count} keys found, the tree says {entries}")

    def _check_record(self, transaction: lmdb.Transaction, key: bytes, record: Record) -> None:
        self._report.objects += 1
        self._report.bytes += record.size
        if record.inline:
            place = key[:BUCKET_ID_BYTES] + record.version
            self._payloads.add(place)
            payload = transaction.get(place, db=self._index.payloads)
            if payload is None or xxhash.xxh3_64_intdigest(payload) != record.payload_checksum:
                self._add("damaged-payload", key)
        for chunk in record.chunks:
            self._named.add((chunk.mountpath, chunk.file_id))
            self._check_chunk(key, chunk.mountpath, chunk.file_id, chunk.blocks_checksum)

    def _check_chunk(self, key: bytes, mountpath: str, file_id: bytes, blocks_checksum: int) -> None:
        if mountpath not in self._mountpaths:
            return self._add("missing-chunk", key, f"mountpath {mountpath} is not there")
        try:
            reader = ChunkReader(
                chunk_path(self._mountpaths[mountpath], file_id), blocks_checksum=blocks_checksum
            )
        except FileNotFoundError:
            # Replaced while we look, or really gone: a second look at the record tells.
            if self._still_names(key, file_id):
                self._add("missing-chunk", key, file_id.hex())
            return None
        except (OSError, ShoalError) as error:
            return self._add("damaged-chunk", key, str(error))
        try:
            for offset in range(0, reader.footer.length, BLOCK_BYTES):
                reader.read(offset, BLOCK_BYTES)
        except (OSError, ShoalError) as error:
            self._add("damaged-chunk", key, str(error))
        finally:
            reader.close()

    def _still_names(self, key: bytes, file_id: bytes) -> bool:
        with self._index.fresh_read() as transaction:
            value = transaction.get(key, db=self._index.records)
            return value is not None and any(c.file_id == file_id for c in decode_record(key, value).chunks)

    def _check_payloads(self, transaction: lmdb.Transaction) -> None:
        with transaction.cursor(db=self._index.payloads) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                if bytes(key) not in self._payloads:
                    self._add("orphan-payload", bytes(key))

    def _add(self, kind: str, key: bytes, detail: str = "") -> None:
        name = key[BUCKET_ID_BYTES:].decode("utf-8", "replace")
        self._report.add(Finding(kind, self._index.mountpath_id, name, detail))


def chunk_files(mountpath: Path) -> list[bytes]:
    return [bytes.fromhex(path.name) for path in (mountpath / "data").glob("??/*") if len(path.name) == 32]
