"""The committer of an index: makes versions visible, many writers' in one synced transaction. See `commit_thread`."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lmdb
import msgspec

from shoal_core.body_stream import check_headers
from shoal_core.errors import (
    BucketNotFound,
    DataCorrupt,
    InternalError,
    InvalidArgument,
    LeaseLost,
    ObjectNotFound,
    OutOfSpace,
    ShoalError,
    Unavailable,
)
from shoal_core.host import boottime_seconds
from shoal_core.objects import BucketId, ObjectInfo
from shoal_core.placement import slot_of
from shoal_store import conditions
from shoal_store.commit import Answer, Commit, Outcome
from shoal_store.damaged_records import current_of
from shoal_store.index import Index
from shoal_store.keys import BUCKET_ID_BYTES, encode_name, is_hashed, key_of
from shoal_store.manifest import files_of
from shoal_store.mountpaths import Mountpaths
from shoal_store.record import ChunkPlace, Record, delete_marker, encode_record
from shoal_store.reserve import Reserve
from shoal_store.suspects import Suspects
from shoal_store.tombstones import Tombstone, encode_tombstone
from shoal_store.uploads_commit import UploadCommits, check_upload, is_repeated
from shoal_store.versions import VersionClock, version_key

FILE_ID_BYTES = 16
NEW = frozenset({"put", "begin-upload", "put-part", "complete-upload"})
"""Commits that bring something that was not there."""


PUTS = frozenset({"put", "complete-upload"})
FREEING = frozenset({"delete", "abort-upload"})
"""Commits for which the reserve of a full disk is given up."""
FREEING_TOGETHER = 16


class Authority(Protocol):
    """What the target may do now, as its membership and buckets have it. Called from committer threads."""

    def deadline(self) -> float:
        """Boot-time seconds until which it may write."""
        ...

    def is_current(self, bucket_id: BucketId) -> bool: ...


@dataclass(slots=True)
class Pending:
    """A commit that waits for its round."""

    committer: IndexCommitter
    commit: Commit
    answer: Answer
    outcome: Outcome | None = None
    retired: Sequence[Path] = ()
    """Files that nothing names any more once the transaction is committed."""
    slot: int = 0


class IndexCommitter:
    """Everything that one index is asked to commit. All but the constructor runs in the thread that commits."""

    def __init__(
        self, index: Index, *, target: str, authority: Authority, mountpaths: Mountpaths, suspects: Suspects
    ) -> None:
        self._index = index
        self._suspects = suspects
        self._target = target
        self._authority = authority
        self._mountpaths = mountpaths
        # Whatever their states: rows may name files on any of them.
        self._folders = {folder.id: folder.path for folder in mountpaths.all}
        self._uploads = UploadCommits(index, self._folders)
        self._reserve = Reserve(index.path)
        self._clock = VersionClock(target)
        self.keeps_tombstones = False
        """Set while slots of this target are on the move."""
        self.takes_new = True
        """Unset while this target is in maintenance. Read once a commit, from another thread."""
        self.groups = 0
        self.commits = 0
        self.kinds: Counter[str] = Counter()
        """Commits that were not refused, by kind."""
        self.put_bytes = 0
        """Of the objects in them."""

    def resume_clock(self) -> None:
        """Go on behind the last version that was given; before the first commit."""
        with self._index.read() as transaction:
            self._clock.raise_to(bytes(transaction.get(b"clock", b"", db=self._index.meta)))

    def commit(self, group: Sequence[Pending]) -> bool:
        """Whether anything was committed. Every pending commit of the group has its outcome then, which may be told
        once `check_still_owner` has looked."""
        committed = self._committed(group)
        if not committed and any(isinstance(pending.outcome, OutOfSpace) for pending in group):
            committed = self._commit_with_reserve(group)
        self.groups += 1
        self.commits += len(group)
        return committed

    def _committed(self, group: Sequence[Pending]) -> bool:
        """Whether the transaction was."""
        try:
            with self._index.write() as transaction:
                # Inside: waiting for the transaction may have taken long.
                self._check_lease()
                for pending in group:
                    self._apply_one(transaction, pending)
                transaction.put(b"clock", self._clock.last, db=self._index.meta)
        except Exception as error:
            if not isinstance(error, ShoalError):
                said = f"commit failed: {type(error).__name__}: {error}"
                error = InternalError(said, outcome="unknown")
            fail(group, error)
            for pending in group:
                # Others of its round may be committed, and then what they have retired goes.
                pending.retired = ()
            return False
        self._count(group)
        return True

    def _count(self, group: Sequence[Pending]) -> None:
        for each in group:
            if isinstance(each.outcome, ObjectInfo):
                self.kinds[each.commit.kind] += 1
                self.put_bytes += each.outcome.size if each.commit.kind in PUTS else 0

    def _commit_with_reserve(self, group: Sequence[Pending]) -> bool:
        """On a full disk: what frees space, a few at a time, each of which leaves free pages for the next. Whether
        anything was committed."""
        freeing = [pending for pending in group if pending.commit.kind in FREEING]
        committed = False
        for start in range(0, len(freeing), FREEING_TOGETHER):
            together = freeing[start : start + FREEING_TOGETHER]
            while True:
                renew(together)
                if self._committed(together):
                    committed = True
                    break
                out_of_space = any(isinstance(pending.outcome, OutOfSpace) for pending in together)
                if not (out_of_space and self._reserve.give()):
                    break
        return committed

    def check_still_owner(self, group: Sequence[Pending]) -> None:
        """Right before the answers: a process that was stopped for a while must not speak for an owner that it no
        longer is."""
        try:
            self._check_still_owner(group)
        except ShoalError as error:
            # The transaction stands, and its records name the writers' files: they must stay.
            error.metadata["outcome"] = "unknown"
            fail(group, error)
        except Exception as error:
            fail(group, InternalError(f"commit failed: {type(error).__name__}: {error}", outcome="unknown"))

    def unlink_retired(self, group: Sequence[Pending]) -> None:
        """What cannot be removed becomes an orphan, to be collected; the commits stand."""
        for pending in group:
            for path in pending.retired:
                if self._mountpaths.may_remove(path):
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)

    def _check_still_owner(self, group: Sequence[Pending]) -> None:
        self._check_lease()
        with self._index.read() as transaction:
            owned = self._index.owned(transaction)
            lost = [
                pending
                for pending in group
                if isinstance(pending.outcome, ObjectInfo) and not owned.holds(pending.slot)
            ]
        if lost:
            fail(
                lost, LeaseLost(f"{self._target} lost the slot while it committed: repeat", outcome="unknown")
            )

    def _check_lease(self) -> None:
        if boottime_seconds() >= self._authority.deadline():
            raise LeaseLost(
                f"{self._target} cannot prove its membership now and takes no writes: repeat after a pause",
                target=self._target,
            )

    def _apply_one(self, transaction: lmdb.Transaction, pending: Pending) -> None:
        """A refused commit leaves the transaction as it found it: everything is checked before anything is written."""
        commit = pending.commit
        try:
            key = key_of(commit.bucket, encode_name(commit.name))
            pending.slot = slot_of(commit.bucket, commit.name)
            self._check(transaction, pending)
            current = current_of(commit, key, transaction.get(key, db=self._index.records))
            match commit.kind:
                case "put" | "delete" | "complete-upload":
                    self._change(transaction, pending, key, current)
                case "rechunk":
                    self._rechunk(transaction, pending, key, current)
                case "annotate":
                    self._annotate(transaction, pending, key, current)
                case "begin-upload":
                    pending.outcome = self._uploads.begin(transaction, commit)
                case "put-part":
                    pending.outcome, pending.retired = self._uploads.put_part(transaction, commit)
                case "abort-upload":
                    pending.outcome, pending.retired = self._uploads.abort(transaction, commit)
        except ShoalError as error:
            pending.outcome = error

    def _change(
        self, transaction: lmdb.Transaction, pending: Pending, key: bytes, current: Record | None
    ) -> None:
        """Of the object itself."""
        commit, retired = pending.commit, list[Path]()
        if commit.kind == "complete-upload":
            if current is not None and is_repeated(commit, current):
                pending.outcome = current.info(commit.name, self._location())
                return
            self._uploads.check_completion(transaction, commit)
        conditions.check(commit.preconditions, current, reading=False)
        if current is not None and not commit.versioned:
            retired += files_of(current, self._folders.__getitem__)
        if commit.kind == "complete-upload":
            retired += self._uploads.remove_completed(transaction, commit)
        if commit.kind == "delete":
            pending.outcome = self._delete(transaction, commit, key, current)
        else:
            pending.outcome = self._put(transaction, commit, key, current)
        pending.retired = retired

    def _check(self, transaction: lmdb.Transaction, pending: Pending) -> None:
        commit = pending.commit
        check_shape(commit, self._folders)
        if commit.kind in NEW and not self.takes_new:
            raise Unavailable(
                f"{self._target} is in maintenance and takes nothing new; what it has can be read: repeat later",
                target=self._target,
            )
        self._index.check_owner(transaction, pending.slot)
        if not self._authority.is_current(commit.bucket):
            raise BucketNotFound("the bucket has been removed")
        if commit.record is not None:
            self._suspects.claim(commit.record.chunks)
        if commit.upload is not None and commit.upload.part is not None:
            self._suspects.claim(commit.upload.part.chunks)

    def _put(
        self, transaction: lmdb.Transaction, commit: Commit, key: bytes, current: Record | None
    ) -> ObjectInfo:
        assert commit.record is not None, "checked by check_shape"
        record = stamped(commit.record, commit.name if is_hashed(key) else "", current, self._clock)
        if record.inline:
            payload = commit.payload or b""
            if not record.is_payload(payload):
                raise DataCorrupt("the payload does not match its checksum on arrival")
            transaction.put(commit.bucket_id + record.version, payload, db=self._index.payloads)
        self._retire(transaction, commit, key, current)
        self._index.put_row(transaction, "records", key=key, value=encode_record(key, record))
        return record.info(commit.name, self._location())

    def _rechunk(
        self, transaction: lmdb.Transaction, pending: Pending, key: bytes, current: Record | None
    ) -> None:
        """The same version in other files: nothing of it changes that a client may rely on."""
        commit = pending.commit
        conditions.check(commit.preconditions, current, reading=False)
        assert commit.record is not None, "checked by check_shape"
        assert current is not None, "it has the version"
        check_rechunk(commit.record, current)
        record = msgspec.structs.replace(
            current, chunks=commit.record.chunks, upload=commit.record.upload, linked=False
        )
        self._index.put_row(transaction, "records", key=key, value=encode_record(key, record))
        pending.retired = list(files_of(current, self._folders.__getitem__))
        pending.outcome = record.info(commit.name, self._location())

    def _annotate(
        self, transaction: lmdb.Transaction, pending: Pending, key: bytes, current: Record | None
    ) -> None:
        """The same version: its bytes are the same."""
        commit = pending.commit
        assert commit.annotation is not None, "checked by check_shape"
        if current is None:
            raise ObjectNotFound(f"object {commit.name!r} does not exist", name=commit.name)
        conditions.check(commit.preconditions, current, reading=False)
        kept = {} if commit.annotation.replace else current.metadata
        metadata = {**kept, **commit.annotation.metadata}
        check_headers(metadata, current.headers)
        record = msgspec.structs.replace(current, metadata=metadata)
        self._index.put_row(transaction, "records", key=key, value=encode_record(key, record))
        pending.outcome = record.info(commit.name, self._location())

    def _delete(
        self, transaction: lmdb.Transaction, commit: Commit, key: bytes, current: Record | None
    ) -> ObjectInfo:
        # The row tells, since of a damaged one there is no record.
        if not self._index.delete_row(transaction, "records", key=key):
            raise ObjectNotFound(f"object {commit.name!r} does not exist", name=commit.name)
        self._retire(transaction, commit, key, current)
        name = commit.name if is_hashed(key) else ""
        if commit.versioned:
            marker = stamped(delete_marker(name), name, current, self._clock)
            self._keep_version(transaction, key, marker)
        if self.keeps_tombstones:
            version = self._clock.after(current.version if current else b"")
            tombstone = Tombstone(version, time.time_ns(), name)
            transaction.put(key, encode_tombstone(key, tombstone), db=self._index.tombstones)
        return (current or delete_marker(name)).info(commit.name, self._location())

    def _retire(
        self, transaction: lmdb.Transaction, commit: Commit, key: bytes, current: Record | None
    ) -> None:
        if current is None:
            return
        if commit.versioned:
            self._keep_version(transaction, key, current)
        elif current.inline:
            transaction.delete(commit.bucket_id + current.version, db=self._index.payloads)

    def _keep_version(self, transaction: lmdb.Transaction, key: bytes, record: Record) -> None:
        place = version_key(key, record.version)
        self._index.put_row(transaction, "versions", key=place, value=encode_record(place, record))

    def _location(self) -> str:
        return f"t[{self._target}]:{self._index.mountpath_id}"


def check_shape(commit: Commit, mountpath_ids: Container[str]) -> None:
    """Gateways send commits as bytes; one that makes no sense must not disturb the others of its group."""
    if len(commit.bucket_id) != BUCKET_ID_BYTES:
        raise InvalidArgument(f"a bucket id has {BUCKET_ID_BYTES} bytes, not {len(commit.bucket_id)}")
    if commit.kind == "put" and (commit.record is None or commit.record.delete_marker):
        raise InvalidArgument("a put without a record of the object")
    if commit.kind == "rechunk":
        if commit.record is None or not commit.record.chunks or commit.conditions.if_version is None:
            raise InvalidArgument("a rechunk without chunks, or without the version that they are of")
    elif commit.kind == "annotate":
        if commit.annotation is None:
            raise InvalidArgument("an annotation without its pairs")
    elif commit.kind not in ("put", "delete"):
        check_upload(commit)
    if commit.record and commit.record.chunks:
        check_chunks(commit.record.chunks, mountpath_ids, size=commit.record.size)
    if commit.upload and commit.upload.part:
        check_chunks(commit.upload.part.chunks, mountpath_ids, size=commit.upload.part.size)


def check_chunks(chunks: Sequence[ChunkPlace], mountpath_ids: Container[str], *, size: int) -> None:
    if any(chunk.mountpath not in mountpath_ids or len(chunk.file_id) != FILE_ID_BYTES for chunk in chunks):
        raise InvalidArgument("a put that names a chunk file on no mountpath of this target")
    if sum(chunk.length for chunk in chunks) != size:
        raise InvalidArgument(f"a put whose chunks do not make up its {size} bytes")


def check_rechunk(record: Record, current: Record) -> None:
    """That the bytes can be the same, and that none of the new files is one that is about to go."""
    kept = {chunk.file_id for chunk in current.chunks} & {chunk.file_id for chunk in record.chunks}
    if record.size != current.size or current.inline or kept:
        raise InvalidArgument("a rechunk that does not replace all files of the object by as many bytes")


def stamped(record: Record, name: str, current: Record | None, clock: VersionClock) -> Record:
    version = clock.after(current.version if current else b"")
    sequence = current.sequence + 1 if current else 1
    return msgspec.structs.replace(
        record, name=name, version=version, sequence=sequence, modified_ns=time.time_ns()
    )


def fail(group: Sequence[Pending], error: ShoalError) -> None:
    for pending in group:
        if not isinstance(pending.outcome, ShoalError):
            pending.outcome = error


def renew(group: Sequence[Pending]) -> None:
    """For another attempt."""
    for pending in group:
        pending.outcome, pending.retired = None, ()
