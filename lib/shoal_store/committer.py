"""The committer of an index: one thread that makes versions visible, many writers' in one synced transaction."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lmdb
import msgspec
import xxhash

from shoal_core.errors import (
    BucketNotFound,
    DataCorrupt,
    InternalError,
    LeaseLost,
    ObjectNotFound,
    ShoalError,
    StaleEpoch,
    TooBusy,
)
from shoal_core.host import boottime_seconds
from shoal_core.objects import BucketId, ObjectInfo
from shoal_core.placement import slot_of
from shoal_store import conditions
from shoal_store.chunkfile import chunk_path
from shoal_store.commit import Commit
from shoal_store.index import Index
from shoal_store.keys import encode_name, is_hashed, key_of
from shoal_store.record import Record, decode_record, encode_record
from shoal_store.versions import VersionClock, inverted

PENDING_MAX = 1024
GROUP_MAX = 256


class Authority(Protocol):
    """What the target may do now, as its membership and buckets have it. Called from committer threads."""

    def deadline(self) -> float:
        """Boot-time seconds until which it may write."""
        ...

    def is_current(self, bucket_id: BucketId) -> bool: ...


@dataclass(slots=True)
class Pending:
    commit: Commit
    future: asyncio.Future[ObjectInfo]
    outcome: ObjectInfo | ShoalError | None = None
    retired: Record | None = None


class IndexCommitter:
    """Runs from `start` to `stop`; `submit` may be called from the event loop given at the start."""

    def __init__(
        self, index: Index, *, target: str, authority: Authority, folders: Callable[[str], Path]
    ) -> None:
        self._index = index
        self._target = target
        self._authority = authority
        self._folders = folders
        self._clock = VersionClock(target)
        self._pending: queue.Queue[Pending | None] = queue.Queue(PENDING_MAX)
        self._thread = threading.Thread(target=self._run, name=f"committer-{index.mountpath_id}", daemon=True)
        self.groups = 0
        self.commits = 0

    def start(self) -> None:
        with self._index.read() as transaction:
            self._clock.raise_to(bytes(transaction.get(b"clock", b"", db=self._index.meta)))
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finishes what is pending."""
        await asyncio.to_thread(self._pending.put, None)
        await asyncio.to_thread(self._thread.join)

    async def commit(self, commit: Commit) -> ObjectInfo:
        pending = Pending(commit, self._loop.create_future())
        try:
            self._pending.put_nowait(pending)
        except queue.Full:
            raise TooBusy(f"{self._target} has {PENDING_MAX} commits waiting: repeat after a pause") from None
        return await asyncio.shield(pending.future)

    def _run(self) -> None:
        while (first := self._pending.get()) is not None:
            group, more = self._gather(first)
            self._commit(group)
            self._loop.call_soon_threadsafe(deliver, group)
            for pending in group:
                self._unlink(pending)
            if not more:
                return

    def _gather(self, first: Pending) -> tuple[list[Pending], bool]:
        group = [first]
        with contextlib.suppress(queue.Empty):
            while len(group) < GROUP_MAX:
                pending = self._pending.get_nowait()
                if pending is None:
                    return group, False
                group.append(pending)
        return group, True

    def _commit(self, group: Sequence[Pending]) -> None:
        try:
            self._check_lease()
            with self._index.write() as transaction:
                for pending in group:
                    self._apply_one(transaction, pending)
                transaction.put(b"clock", self._clock.last, db=self._index.meta)
            self._check_lease(outcome="unknown")
        except ShoalError as error:
            fail(group, error)
        except Exception as error:
            fail(group, InternalError(f"commit failed: {type(error).__name__}: {error}", outcome="unknown"))
        self.groups += 1
        self.commits += len(group)

    def _check_lease(self, **metadata: str) -> None:
        if boottime_seconds() >= self._authority.deadline():
            raise LeaseLost(
                f"{self._target} cannot prove its membership now and takes no writes: repeat after a pause",
                target=self._target,
                **metadata,
            )

    def _apply_one(self, transaction: lmdb.Transaction, pending: Pending) -> None:
        """A refused commit leaves the transaction as it found it: everything is checked before anything is written."""
        commit = pending.commit
        try:
            name = encode_name(commit.name)
            key = key_of(commit.bucket, name)
            self._check(transaction, commit)
            found = transaction.get(key, db=self._index.records)
            current = None if found is None else decode_record(key, found)
            conditions.check(commit.preconditions, current, reading=False)
            if commit.kind == "put":
                pending.outcome = self._put(transaction, commit, key, current)
            else:
                pending.outcome = self._delete(transaction, commit, key, current)
            pending.retired = None if commit.versioned else current
        except ShoalError as error:
            pending.outcome = error

    def _check(self, transaction: lmdb.Transaction, commit: Commit) -> None:
        owned = self._index.owned(transaction)
        if not owned.holds(slot_of(commit.bucket, commit.name)):
            raise StaleEpoch(
                "the object's slot is not held here: fetch the cluster map again", epoch=str(owned.epoch)
            )
        if not self._authority.is_current(commit.bucket):
            raise BucketNotFound("the bucket has been removed")

    def _put(
        self, transaction: lmdb.Transaction, commit: Commit, key: bytes, current: Record | None
    ) -> ObjectInfo:
        assert commit.record is not None
        record = stamped(commit.record, commit.name if is_hashed(key) else "", current, self._clock)
        if record.inline:
            payload = commit.payload or b""
            if xxhash.xxh3_64_intdigest(payload) != record.payload_checksum:
                raise DataCorrupt("the payload does not match its checksum on arrival")
            transaction.put(commit.bucket_id + record.version, payload, db=self._index.payloads)
        self._retire(transaction, commit, key, current)
        transaction.put(key, encode_record(key, record), db=self._index.records)
        return record.info(commit.name, self._location())

    def _delete(
        self, transaction: lmdb.Transaction, commit: Commit, key: bytes, current: Record | None
    ) -> ObjectInfo:
        if current is None:
            raise ObjectNotFound(f"object {commit.name!r} does not exist", name=commit.name)
        self._retire(transaction, commit, key, current)
        transaction.delete(key, db=self._index.records)
        return current.info(commit.name, self._location())

    def _retire(
        self, transaction: lmdb.Transaction, commit: Commit, key: bytes, current: Record | None
    ) -> None:
        if current is None:
            return
        if commit.versioned:
            old = key + b"\0" + inverted(current.version)
            transaction.put(old[:511], encode_record(old[:511], current), db=self._index.versions)
        elif current.inline:
            transaction.delete(commit.bucket_id + current.version, db=self._index.payloads)

    def _location(self) -> str:
        return f"t[{self._target}]:{self._index.mountpath_id}"

    def _unlink(self, pending: Pending) -> None:
        if pending.retired is not None and isinstance(pending.outcome, ObjectInfo):
            for chunk in pending.retired.chunks:
                chunk_path(self._folders(chunk.mountpath), chunk.file_id).unlink(missing_ok=True)


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


def deliver(group: Sequence[Pending]) -> None:
    """On the event loop: one call for the whole group."""
    for pending in group:
        if pending.future.cancelled():
            continue
        if isinstance(pending.outcome, ObjectInfo):
            pending.future.set_result(pending.outcome)
        else:
            pending.future.set_exception(
                pending.outcome or InternalError("a commit ended without an outcome")
            )
