"""`shoal fsck`: read everything of some mountpaths and say what is damaged, missing or left over. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import xxhash

from shoal_core.errors import DataCorrupt, ShoalError
from shoal_store.chunkfile import ChunkReader, chunk_path
from shoal_store.index import Index, Table
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.manifest import decode_manifest, has_manifest, manifest_path
from shoal_store.record import ChunkPlace, Record, decode_record
from shoal_store.uploads import UPLOAD_KEY_BYTES, Part, decode_part, decode_upload, is_part, number_of

FINDINGS_MAX = 1000
BATCH = 1000
FILE_NAME = re.compile(r"[0-9a-f]{32}(\.manifest)?")
Progress = Callable[[str, int], None]
"""Called with the mountpath and the number of objects looked at so far."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    """`damaged-index`, `damaged-record`, `damaged-payload`, `damaged-chunk`, `damaged-manifest`, `missing-chunk`,
    `keys-out-of-order`, `key-count`, `orphan-chunk`, `orphan-manifest` or `orphan-payload`. Orphans cost space and
    nothing else, as long as no record is damaged that may have named them; a damaged manifest costs nothing until
    the index has to be rebuilt."""
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
    files = {name: stored_files(path) for name, path in mountpaths.items()}
    named: set[tuple[str, bytes]] = set()
    whole = True
    for name, path in mountpaths.items():
        try:
            with closing(Index(name, path, writable=False)) as index:
                IndexCheck(index, mountpaths, report, named, progress).run()
        except DataCorrupt as error:
            whole = False
            report.add(Finding("damaged-index", name, "index", error.message))
    for name, found in files.items():
        report.chunk_files += sum(not path.suffix for path in found)
        if not whole:
            # What the rest of the index would have named is not known, so nothing can be called an orphan.
            continue
        for path in found:
            if (name, bytes.fromhex(path.stem)) not in named and path.exists():
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
        self._mountpaths = mountpaths
        self._report = report
        self._named = named
        self._progress = progress
        self._payloads: set[bytes] = set()

    def run(self) -> None:
        tables = (self._index.records, self._index.versions, self._index.uploads)
        with self._index.read() as transaction:
            for table in tables:
                self._check_table(transaction, table)
            self._check_payloads(transaction)
        for table in tables:
            key = b""
            while records := self._batch(table, after=key):
                for key, owner in records:
                    self._check_files(table, key, owner)

    def _check_table(self, transaction: lmdb.Transaction, table: Table) -> None:
        previous, count = b"", 0
        with transaction.cursor(db=table) as cursor:
            for key, value in cursor:
                key, count = bytes(key), count + 1
                if key <= previous:
                    self._add("keys-out-of-order", key, table=table)
                previous = key
                try:
                    if table is not self._index.uploads:
                        self._check_record(transaction, key, decode_record(key, value))
                    elif is_part(key):
                        self._name(decode_part(key, value))
                    else:
                        decode_upload(key, value)
                except DataCorrupt as error:
                    self._add("damaged-record", key, error.message, table=table)
                if self._progress and count % BATCH == 0:
                    self._progress(self._index.mountpath_id, self._report.objects)
        if count != (entries := transaction.stat(table)["entries"]):
            self._add("key-count", b"", f"{count} keys found, the tree says {entries}")

    def _check_record(self, transaction: lmdb.Transaction, key: bytes, record: Record) -> None:
        self._report.objects += not record.delete_marker
        self._report.bytes += record.size
        self._name(record)
        if not record.inline:
            return
        place = key[:BUCKET_ID_BYTES] + record.version
        self._payloads.add(place)
        payload = transaction.get(place, db=self._index.payloads)
        if payload is None or xxhash.xxh3_64_intdigest(payload) != record.payload_checksum:
            self._add("damaged-payload", key)

    def _name(self, owner: Record | Part) -> None:
        self._named.update((chunk.mountpath, chunk.file_id) for chunk in owner.chunks)

    def _check_payloads(self, transaction: lmdb.Transaction) -> None:
        with transaction.cursor(db=self._index.payloads) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                if bytes(key) not in self._payloads:
                    self._add("orphan-payload", bytes(key))

    def _batch(self, table: Table, *, after: bytes) -> list[tuple[bytes, Record | Part]]:
        """The next records or parts that name files. Damaged ones have been reported already."""
        found: list[tuple[bytes, Record | Part]] = []
        with self._index.read() as transaction, transaction.cursor(db=table) as cursor:
            more = cursor.set_range(after + b"\0") if after else cursor.first()
            while more and len(found) < BATCH:
                with suppress(DataCorrupt):
                    owner = self._decode(table, key := bytes(cursor.key()), cursor.value())
                    if owner is not None and owner.chunks:
                        found.append((key, owner))
                more = cursor.next()
        return found

    def _decode(self, table: Table, key: bytes, value: bytes | memoryview) -> Record | Part | None:
        """None for an upload itself, which has no files."""
        if table is not self._index.uploads:
            return decode_record(key, value)
        return decode_part(key, value) if is_part(key) else None

    def _check_files(self, table: Table, key: bytes, owner: Record | Part) -> None:
        self._name(owner)
        for chunk in owner.chunks:
            if chunk.mountpath not in self._mountpaths:
                return self._add(
                    "missing-chunk", key, f"mountpath {chunk.mountpath} is not there", table=table
                )
        try:
            for chunk in owner.chunks:
                check_chunk(chunk_path(self._mountpaths[chunk.mountpath], chunk.file_id), chunk)
            if isinstance(owner, Record) and has_manifest(owner):
                self._check_manifest(key, owner)
        except FileNotFoundError as error:
            # Replaced while we look, or really gone: a second look at the record tells.
            if self._still_there(table, key, owner):
                kind = "damaged-manifest" if str(error.filename).endswith(".manifest") else "missing-chunk"
                self._add(kind, key, str(error.filename), table=table)
        except (OSError, ShoalError) as error:
            self._add("damaged-chunk", key, str(error), table=table)

    def _check_manifest(self, key: bytes, record: Record) -> None:
        first = record.chunks[0]
        path = manifest_path(chunk_path(self._mountpaths[first.mountpath], first.file_id))
        try:
            found = decode_manifest(path.read_bytes())[1]
        except DataCorrupt as error:
            return self._add("damaged-manifest", key, error.message)
        if found.chunks != record.chunks:
            self._add("damaged-manifest", key, "it names other chunks than the record")

    def _still_there(self, table: Table, key: bytes, owner: Record | Part) -> bool:
        with self._index.read() as transaction:
            value = transaction.get(key, db=table)
            found = None if value is None else self._decode(table, key, value)
            return found is not None and found.chunks == owner.chunks

    def _add(self, kind: str, key: bytes, detail: str = "", *, table: Table | None = None) -> None:
        what = shown_upload(key) if table is self._index.uploads else shown_name(key)
        self._report.add(Finding(kind, self._index.mountpath_id, what, detail))


def shown_name(key: bytes) -> str:
    return key[BUCKET_ID_BYTES:].decode("utf-8", "replace")


def shown_upload(key: bytes) -> str:
    upload = f"upload {key[BUCKET_ID_BYTES:UPLOAD_KEY_BYTES].hex()}"
    return f"{upload}, part {number_of(key)}" if is_part(key) else upload


def check_chunk(path: Path, chunk: ChunkPlace) -> None:
    """Reads all of it. Raises FileNotFoundError, another OSError or DataCorrupt."""
    reader = ChunkReader(path, blocks_checksum=chunk.blocks_checksum)
    try:
        if reader.footer.length != chunk.length:
            raise DataCorrupt(f"the chunk has {reader.footer.length} bytes, its record says {chunk.length}")
        for offset in range(0, reader.footer.length, reader.footer.block_bytes):
            reader.read(offset, reader.footer.block_bytes)
    finally:
        reader.close()


def stored_files(mountpath: Path) -> list[Path]:
    """Chunk files and manifests; anything else under data/ is not Shoal's."""
    return [path for path in (mountpath / "data").glob("??/*") if FILE_NAME.fullmatch(path.name)]
