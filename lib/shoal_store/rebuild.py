"""`shoal fsck --rebuild-index`: an index made anew, of its newest hot copy, the chunk files and the manifests.

What the copy has stays, unless its files have gone. What files have beyond it is taken when it is newer than the copy,
since older files without a row were leftovers then already. Nothing is deleted: the old index is set aside, and so is
the list of what could not be proved.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import lmdb
import msgspec

from shoal_core.errors import ConfigurationError, DataCorrupt
from shoal_store.checking import Owner
from shoal_store.chunkfile import chunk_path
from shoal_store.durability import sync_data, sync_directory
from shoal_store.evidence import Candidate, Doubt, FileEvidence, Place, moved, same_content, shown
from shoal_store.fsck import IndexCheck, Progress, Report
from shoal_store.index import FOLDER, MAP_BYTES, TABLES, Index, held
from shoal_store.index_copies import DATA, IndexCopy, copies_of, copy_folders
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.manifest import has_manifest, manifest_path
from shoal_store.record import Record, decode_record, encode_record
from shoal_store.sealed import is_sealed
from shoal_store.uploads import UPLOAD_KEY_BYTES, decode_part, is_part
from shoal_store.versions import VERSION_BYTES, VersionClock, version_key

NEW_FOLDER = ".index-rebuilt"
ASIDE = "aside"
LIST_FILE = "rebuild.json"
ROWS_OF_TRANSACTION = 5000
SETTLE_NS = 60_000_000_000
"""A file that was written so long before a copy, and had no row in it, was not about to be committed."""
RENAME_EXCHANGE = 2
AT_FDCWD = -100


@dataclass(slots=True)
class RebuildReport:
    mountpath: str
    copy: str = ""
    """The folder of the copy that was used; empty for none."""
    copy_made_ns: int = 0
    damaged_copies: list[str] = field(default_factory=list)
    """Those that were not used."""
    objects: int = 0
    restored: int = 0
    """Of them, those whose current version comes from files and not from the copy."""
    inline: int = 0
    """Of them, those that lie in the index: since the copy, they may have been overwritten or deleted."""
    doubts: list[Doubt] = field(default_factory=list)
    verified: Report = field(default_factory=Report)
    """What `shoal fsck` says of the new index."""
    aside: str = ""
    """Where the old index is, and the whole list of doubts."""

    @property
    def doubts_by_kind(self) -> dict[str, int]:
        return dict(sorted(Counter(doubt.kind for doubt in self.doubts).items()))


def rebuild_index(
    folders: Mapping[str, Path], mountpath_id: str, *, target: str, progress: Progress | None = None
) -> RebuildReport:
    """`folders` has all mountpaths of the target. Blocks. Raises ConfigurationError while the index is in use or
    anything that is needed is missing, DataCorrupt when the new index does not verify; nothing has changed then."""
    folder = folders[mountpath_id]
    report = RebuildReport(mountpath_id)
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        copy = usable_copy(folders, mountpath_id, report, target=target)
        source = stack.enter_context(opened_copy(copy))
        shutil.rmtree(folder / NEW_FOLDER, ignore_errors=True)
        (folder / NEW_FOLDER).mkdir()
        with closing(Index(mountpath_id, folder, writable=True, sync=False, folder=NEW_FOLDER)) as index:
            Rebuild(folders, index, source, report, target=target).run()
        with closing(Index(mountpath_id, folder, writable=False, folder=NEW_FOLDER)) as index:
            if not IndexCheck(index, folders, report.verified, set(), progress).run():
                raise DataCorrupt("the rebuilt index does not verify: nothing was changed")
        report.aside = str(put_in_place(folder, report))
    return report


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No target has the mountpath, and no process its index. Raises ConfigurationError."""
    index = folder / FOLDER
    index.mkdir(exist_ok=True)
    identity = os.open(folder / "shoal.json", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(identity, fcntl.LOCK_EX | fcntl.LOCK_NB)
        use = held(index, shared=False)
    except BlockingIOError as error:
        os.close(identity)
        raise ConfigurationError(
            f"the target of {folder} runs and has it: stop it first (`shoal down`), or disable the mountpath and "
            "restart the target"
        ) from error
    except BaseException:
        os.close(identity)
        raise
    try:
        yield
    finally:
        os.close(use)
        os.close(identity)


def usable_copy(
    folders: Mapping[str, Path], mountpath_id: str, report: RebuildReport, *, target: str
) -> IndexCopy | None:
    """The newest that is whole; reads all of it."""
    described = copies_of(mountpath_id, folders.values())
    others = set(copy_folders(mountpath_id, folders.values())) - {copy.folder for copy in described}
    report.damaged_copies = sorted(map(str, others))
    for copy in described:
        if copy.description.target == target and copy.is_whole():
            report.copy, report.copy_made_ns = str(copy.folder), copy.description.made_ns
            return copy
        report.damaged_copies.append(str(copy.folder))
    return None


@dataclass(frozen=True, slots=True)
class CopySource:
    """The rows of a copy, or none."""

    environment: lmdb.Environment | None = None

    def rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        if self.environment is None:
            return
        database = self.environment.open_db(table.encode(), create=False)
        with self.environment.begin() as transaction, transaction.cursor(db=database) as cursor:
            for key, value in cursor:
                yield bytes(key), bytes(value)

    def get(self, table: str, key: bytes) -> bytes | None:
        if self.environment is None:
            return None
        database = self.environment.open_db(table.encode(), create=False)
        with self.environment.begin() as transaction:
            value = transaction.get(key, db=database)
            return None if value is None else bytes(value)


@contextmanager
def opened_copy(copy: IndexCopy | None) -> Iterator[CopySource]:
    if copy is None:
        yield CopySource()
        return
    with lmdb.open(
        str(copy.data), subdir=False, readonly=True, lock=False, map_size=MAP_BYTES, max_dbs=len(TABLES)
    ) as environment:
        yield CopySource(environment)


class Rebuild:
    """Fills the new index."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        index: Index,
        source: CopySource,
        report: RebuildReport,
        *,
        target: str,
    ) -> None:
        self._folders = folders
        self._index = index
        self._source = source
        self._report = report
        self._clock = VersionClock(target)
        self._clock.raise_to(source.get("meta", b"clock") or b"")
        self._damaged: set[bytes] = set()
        """Keys of records of the copy that cannot be read."""
        self._versioned: set[bytes] = set()
        """Ids of buckets that keep older versions."""
        self._completed: set[str] = set()
        """Uploads that have become objects since the copy."""
        self._rows: list[tuple[str, bytes, bytes]] = []

    def run(self) -> None:
        self._require_all_mountpaths()
        of_objects, of_parts = self._named()
        evidence = FileEvidence(
            self._folders, self._index.mountpath_id, of_objects=of_objects, of_parts=of_parts
        ).gathered()
        self._report.doubts += evidence.doubts
        self._put_records(evidence.candidates)
        self._put_versions()
        self._put_uploads()
        for table in ("tombstones", "slots"):
            for key, value in self._source.rows(table):
                self._put(table, key, value)
        self._clock.raise_to((time.time_ns() // 1_000_000 << 16).to_bytes(8))
        self._put("meta", b"clock", self._clock.last)
        self._put("meta", b"mountpaths", ",".join(sorted(self._folders)).encode())
        self._write()

    def _require_all_mountpaths(self) -> None:
        given = ",".join(sorted(self._folders))
        known = (self._source.get("meta", b"mountpaths") or given.encode()).decode()
        if known != given:
            raise ConfigurationError(
                f"the index was used with the mountpaths {known}, and {given} are given: all are needed, since its "
                "objects have files on them"
            )

    def _named(self) -> tuple[set[Place], set[Place]]:
        """What rows of the copy, and of the target's other indexes, name: by objects, by parts."""
        of_objects, of_parts = set[Place](), set[Place]()
        for table in ("records", "versions", "uploads"):
            for key, value in self._source.rows(table):
                add_named(table, key, value, of_objects, of_parts)
                if table == "versions":
                    self._versioned.add(key[:BUCKET_ID_BYTES])
        for other, path in self._folders.items():
            if other != self._index.mountpath_id:
                add_named_by_index(other, path, of_objects, of_parts)
        return of_objects, of_parts

    def _put_records(self, candidates: dict[bytes, list[Candidate]]) -> None:
        for key, value in self._source.rows("records"):
            try:
                known = decode_record(key, value)
            except DataCorrupt as error:
                self._damaged.add(key)
                self._doubt("damaged-row", key, error.message)
                continue
            self._settle(key, known, candidates.pop(key, []))
        for key, found in candidates.items():
            self._settle(key, None, found)

    def _settle(self, key: bytes, known: Record | None, found: list[Candidate]) -> None:
        """Of one name: what the copy knows, and what files say beyond that, newest first."""
        there = known is not None and self._is_there(known)
        for candidate in found:
            if known is not None and candidate.record.version and candidate.record.version <= known.version:
                if candidate.record.version == known.version and not there:
                    # A rechunk, and nothing else, has come in between.
                    known, there = moved(known, candidate.record), True
                    continue
            elif self._is_news(key, known, candidate):
                self._restore(key, known, candidate, there=there)
                self._leave(key, [each for each in found if each is not candidate])
                return
            self._leave(key, [candidate])
        if known is not None and there:
            self._keep(key, known)
        elif known is not None:
            self._doubt(
                "gone", key, "its files are not there: deleted or overwritten since the copy, or lost"
            )

    def _is_news(self, key: bytes, known: Record | None, candidate: Candidate) -> bool:
        if key in self._damaged or not self._report.copy:
            return True
        since = self._report.copy_made_ns - SETTLE_NS
        return candidate.written_ns > max(since, known.modified_ns if known else 0)

    def _restore(self, key: bytes, known: Record | None, candidate: Candidate, *, there: bool) -> None:
        record = candidate.record
        if known is not None and not there and not known.parts and same_content(known, record):
            # The same bytes in other files, as a rechunk leaves them: all else is known from the copy.
            record = moved(known, record)
        elif not record.version:
            before = known.version if known is not None else b""
            record = msgspec.structs.replace(
                record,
                version=self._clock.at_moment(candidate.written_ns, before),
                sequence=known.sequence + 1 if known is not None else 1,
                modified_ns=candidate.written_ns,
            )
        if known is not None and there and key[:BUCKET_ID_BYTES] in self._versioned:
            self._keep_version(key, known)
        self._clock.raise_to(record.version)
        self._completed.add(record.upload)
        self._put("records", key, encode_record(key, record))
        self._report.objects += 1
        self._report.restored += 1
        self._doubt(candidate.kind, key, f"{record.size} bytes, written at {moment(candidate.written_ns)}")

    def _keep(self, key: bytes, record: Record) -> None:
        self._put("records", key, encode_record(key, record))
        self._put_payload(key, record)
        self._report.objects += 1
        self._report.inline += record.inline

    def _put_payload(self, key: bytes, record: Record) -> None:
        place = key[:BUCKET_ID_BYTES] + record.version
        if record.inline and (payload := self._source.get("payloads", place)) is not None:
            self._put("payloads", place, payload)

    def _keep_version(self, key: bytes, record: Record) -> None:
        place = version_key(key, record.version)
        self._put("versions", place, encode_record(place, record))
        self._put_payload(key, record)

    def _leave(self, key: bytes, candidates: list[Candidate]) -> None:
        for each in candidates:
            self._doubt("superseded", key, f"{each.record.size} bytes, written at {moment(each.written_ns)}")

    def _put_versions(self) -> None:
        for key, value in self._source.rows("versions"):
            try:
                record = decode_record(key, value)
            except DataCorrupt as error:
                self._doubt("damaged-row", key[: -1 - VERSION_BYTES], error.message)
                continue
            if self._is_there(record):
                self._put("versions", key, value)
                self._put_payload(key, record)
            else:
                self._doubt("gone", key[: -1 - VERSION_BYTES], "the files of an older version are not there")

    def _put_uploads(self) -> None:
        for key, value in self._source.rows("uploads"):
            upload = key[BUCKET_ID_BYTES:UPLOAD_KEY_BYTES].hex()
            if upload in self._completed:
                continue
            what = key[:BUCKET_ID_BYTES] + f"upload {upload}".encode()
            if not is_sealed(key, value):
                self._doubt("damaged-row", what, "a row of the copy")
            elif is_part(key) and not self._is_there(decode_part(key, value)):
                self._doubt("gone", what, "the file of a part is not there")
            else:
                self._put("uploads", key, value)

    def _is_there(self, owner: Owner) -> bool:
        """Whether its files are. One that has only lost some of them, and not by a delete, which takes the manifest
        first, stays, and is damaged."""
        paths = [self._path_of(chunk.mountpath, chunk.file_id) for chunk in owner.chunks]
        if all(path is not None and path.exists() for path in paths):
            return True
        first = paths[0]
        told = isinstance(owner, Record) and has_manifest(owner) and first is not None
        return told and first is not None and os.path.lexists(manifest_path(first))

    def _path_of(self, mountpath: str, file_id: bytes) -> Path | None:
        folder = self._folders.get(mountpath)
        return None if folder is None else chunk_path(folder, file_id)

    def _doubt(self, kind: str, key: bytes, detail: str) -> None:
        self._report.doubts.append(Doubt(kind, shown(key), detail))

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        self._rows.append((table, key, value))
        if len(self._rows) >= ROWS_OF_TRANSACTION:
            self._write()

    def _write(self) -> None:
        with self._index.write() as transaction:
            for table, key, value in self._rows:
                self._index.put_row(transaction, table, key=key, value=value)
        self._rows.clear()


def add_named(table: str, key: bytes, value: bytes, of_objects: set[Place], of_parts: set[Place]) -> None:
    if not is_sealed(key, value) or (table == "uploads" and not is_part(key)):
        return
    if table == "uploads":
        of_parts.update((chunk.mountpath, chunk.file_id) for chunk in decode_part(key, value).chunks)
    else:
        of_objects.update((chunk.mountpath, chunk.file_id) for chunk in decode_record(key, value).chunks)


def add_named_by_index(mountpath: str, path: Path, of_objects: set[Place], of_parts: set[Place]) -> None:
    """A damaged one is passed over: files that it names have names that it keeps, and so are none of ours."""
    try:
        with closing(Index(mountpath, path, writable=False)) as index:
            for table in ("records", "versions", "uploads"):
                with index.read(buffers=False) as transaction:
                    for key, value in transaction.cursor(db=getattr(index, table)):
                        add_named(table, bytes(key), bytes(value), of_objects, of_parts)
    except (ConfigurationError, DataCorrupt, OSError):
        return


def moment(nanoseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(nanoseconds / 1e9))


def put_in_place(folder: Path, report: RebuildReport) -> Path:
    """The new index and the old one change places at once; then the old one is set aside."""
    aside = folder / ASIDE / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside.mkdir(parents=True)
    report.aside = str(aside)
    with (aside / LIST_FILE).open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(asdict(report)), indent=1))
        file.flush()
        sync_data(file.fileno(), "rebuild list")
    with (folder / NEW_FOLDER / DATA).open("rb") as data:
        sync_data(data.fileno(), "rebuilt data")
    exchange(folder / NEW_FOLDER, folder / FOLDER)
    os.rename(folder / NEW_FOLDER, aside / FOLDER)
    sync_directory(folder, "rebuilt index")
    sync_directory(aside, "rebuild aside")
    sync_directory(aside.parent, "rebuild asides")
    return aside


def exchange(one: Path, other: Path) -> None:
    """There is no moment at which an index is missing. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(
            number, f"cannot exchange two folders ({errno.errorcode.get(number)})", str(one), None, str(other)
        )
