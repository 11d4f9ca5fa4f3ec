"""`EtcdClient`: reads, writes and transactions on etcd, each with a deadline and an honest outcome.

Every method raises ControlPlaneDown when etcd does not answer in time; a write raises its subclass
OutcomeUnknown when it may have happened all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Self

from shoal.etcd.v1 import etcd_pb2
from shoal_core.errors import Conflict, ControlPlaneDown
from shoal_core.etcd.connection import Connection, TlsFiles
from shoal_core.etcd.messages import (
    delete_request,
    key_value,
    put_request,
    transaction_request,
    transaction_result,
)
from shoal_core.etcd.values import (
    ABSENT,
    NO_LEASE,
    OPERATIONS_MAX,
    Condition,
    Delete,
    EtcdStatus,
    Get,
    KeyRange,
    KeyValue,
    LeaseId,
    ModRevisionEquals,
    Operation,
    OutcomeUnknown,
    Put,
    RevisionCompacted,
    Snapshot,
    TransactionResult,
    encode_key,
    prefix_range,
    single_key,
)
from shoal_core.etcd.watch import Watch

TIMEOUT_SECONDS_DEFAULT = 5.0
# A page of largest values stays under the channel's limit on one message.
PAGE_KEYS = 500
COMPACTED_LISTS_MAX = 3
UNKNOWN_OUTCOMES_MAX = 3


class EtcdClient:
    """One per process is enough. `endpoints` are `host:port`. Close it, or use `async with`."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsFiles | None,
        timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.connection = Connection(endpoints, tls=tls)
        unary = self.connection.unary
        self._range = unary("/etcdserverpb.KV/Range", etcd_pb2.RangeRequest, etcd_pb2.RangeResponse)
        self._put = unary("/etcdserverpb.KV/Put", etcd_pb2.PutRequest, etcd_pb2.PutResponse)
        self._delete = unary(
            "/etcdserverpb.KV/DeleteRange", etcd_pb2.DeleteRangeRequest, etcd_pb2.DeleteRangeResponse
        )
        self._transaction = unary("/etcdserverpb.KV/Txn", etcd_pb2.TxnRequest, etcd_pb2.TxnResponse)
        self._compact = unary(
            "/etcdserverpb.KV/Compact", etcd_pb2.CompactionRequest, etcd_pb2.CompactionResponse
        )
        self._status = unary(
            "/etcdserverpb.Maintenance/Status", etcd_pb2.StatusRequest, etcd_pb2.StatusResponse
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.connection.close()

    async def get(
        self, key: str, *, serializable: bool = False, timeout_seconds: float | None = None
    ) -> KeyValue | None:
        """The key now; `serializable` lets one member answer alone, quickly and maybe with an old state."""
        request = etcd_pb2.RangeRequest(key=encode_key(key), serializable=serializable)
        response = await self._range.repeatable(
            request, timeout_seconds or self.timeout_seconds, needs_leader=not serializable
        )
        return key_value(response.kvs[0]) if response.kvs else None

    async def get_prefix(
        self, prefix: str, *, serializable: bool = False, timeout_seconds: float | None = None
    ) -> Snapshot:
        """All keys under the prefix as of one revision, in the order of their bytes."""
        return await self.get_range(
            prefix_range(prefix), serializable=serializable, timeout_seconds=timeout_seconds
        )

    async def get_range(
        self, keys: KeyRange, *, serializable: bool = False, timeout_seconds: float | None = None
    ) -> Snapshot:
        for attempt in range(1, COMPACTED_LISTS_MAX + 1):
            try:
                return await self._list(
                    keys, serializable=serializable, timeout_seconds=timeout_seconds or self.timeout_seconds
                )
            except RevisionCompacted:
                # History went away between two pages of one snapshot.
                if attempt == COMPACTED_LISTS_MAX:
                    raise
        raise AssertionError("unreachable")

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        lease_id: LeaseId = NO_LEASE,
        timeout_seconds: float | None = None,
    ) -> int:
        """Write, whatever was there; returns the revision. Raises LeaseLost when the lease has ended."""
        request = put_request(key, value, lease_id=lease_id)
        response = await self._put.once(request, timeout_seconds or self.timeout_seconds)
        return response.header.revision

    async def delete(self, key: str, *, timeout_seconds: float | None = None) -> int:
        """Delete one key; returns how many were there, 0 or 1."""
        return await self._delete_range(single_key(key), timeout_seconds)

    async def delete_prefix(self, prefix: str, *, timeout_seconds: float | None = None) -> int:
        """Delete all keys under the prefix; returns their number."""
        return await self._delete_range(prefix_range(prefix), timeout_seconds)

    async def transaction(
        self,
        conditions: Sequence[Condition],
        then: Sequence[Operation],
        *,
        otherwise: Sequence[Operation] = (),
        timeout_seconds: float | None = None,
    ) -> TransactionResult:
        """Do `then` if all conditions hold, `otherwise` if not, as one change; at most 128 of each."""
        assert max(len(conditions), len(then), len(otherwise)) <= OPERATIONS_MAX
        request = transaction_request(conditions, then, otherwise=otherwise)
        # Only a transaction that writes can leave a doubt behind.
        reads_only = all(isinstance(operation, Get) for operation in (*then, *otherwise))
        call = self._transaction.repeatable if reads_only else self._transaction.once
        return transaction_result(await call(request, timeout_seconds or self.timeout_seconds))

    async def put_if(
        self,
        key: str,
        value: bytes,
        *,
        expected_mod_revision: int,
        lease_id: LeaseId = NO_LEASE,
        guards: Sequence[Condition] = (),
        timeout_seconds: float | None = None,
    ) -> int:
        """Compare and swap; ABSENT (0) expects no such key. Returns the new mod revision.

        Raises Conflict when the key was changed by another or a guard (say, a leader's) does not hold:
        nothing was done. When an answer is lost it reads back and compares the value, so a value should tell
        who wrote it wherever two might write the same. OutcomeUnknown remains when a third value is found.
        """
        conditions = (ModRevisionEquals(key, expected_mod_revision), *guards)
        operation = Put(key, value, lease_id)
        unknown: OutcomeUnknown | None = None
        for _ in range(UNKNOWN_OUTCOMES_MAX):
            try:
                result = await self.transaction(
                    conditions, [operation], otherwise=[Get(key)], timeout_seconds=timeout_seconds
                )
            except OutcomeUnknown as error:
                unknown = error
                current = await self._read_back(key, error)
            else:
                if result.succeeded:
                    return result.revision
                current = next(iter(result.responses[0].items), None)
                if unknown is None:
                    raise changed_by_another(key, current, expected_mod_revision=expected_mod_revision)
            if mod_revision(current) != expected_mod_revision:
                if current is not None and current.value == value:
                    return current.mod_revision
                raise OutcomeUnknown(
                    f"etcd key {key!r}: the answer to a write was lost and the key has been changed since; "
                    "read it and decide anew"
                ) from unknown
            # Unchanged. Trying again is safe: of all attempts with this revision at most one can succeed.
        assert unknown is not None
        raise unknown

    async def delete_if(
        self,
        key: str,
        *,
        expected_mod_revision: int,
        guards: Sequence[Condition] = (),
        timeout_seconds: float | None = None,
    ) -> int:
        """Delete the key if it is as it was; returns a revision at which it is gone. Raises Conflict."""
        conditions = (ModRevisionEquals(key, expected_mod_revision), *guards)
        unknown: OutcomeUnknown | None = None
        for _ in range(UNKNOWN_OUTCOMES_MAX):
            try:
                result = await self.transaction(
                    conditions, [Delete(key)], otherwise=[Get(key)], timeout_seconds=timeout_seconds
                )
            except OutcomeUnknown as error:
                unknown = error
                continue
            if result.succeeded:
                return result.revision
            current = next(iter(result.responses[0].items), None)
            if unknown is not None and current is None:
                return result.revision
            raise changed_by_another(key, current, expected_mod_revision=expected_mod_revision)
        assert unknown is not None
        raise unknown

    async def revision(self) -> int:
        """The revision of the whole store, as the quorum has it."""
        request = etcd_pb2.RangeRequest(key=b"\0", count_only=True)
        response = await self._range.repeatable(request, self.timeout_seconds)
        return response.header.revision

    async def compact(self, revision: int) -> None:
        """Forget history before the revision; when that was done before, it is done."""
        request = etcd_pb2.CompactionRequest(revision=revision, physical=True)
        with contextlib.suppress(RevisionCompacted):
            await self._compact.repeatable(request, self.timeout_seconds)

    async def status(self) -> EtcdStatus:
        """How the member that happens to answer sees itself."""
        response = await self._status.repeatable(
            etcd_pb2.StatusRequest(), self.timeout_seconds, needs_leader=False
        )
        return EtcdStatus(
            version=response.version,
            revision=response.header.revision,
            database_bytes=response.database_bytes,
            has_leader=response.leader != 0,
            alarms=tuple(response.errors),
        )

    def watch_prefix(self, prefix: str, *, start_revision: int | None = None) -> Watch:
        """Changes under the prefix, for ever: see `Watch`. Close it, or use `async with`."""
        return Watch(self, prefix_range(prefix), start_revision=start_revision)

    def watch_key(self, key: str, *, start_revision: int | None = None) -> Watch:
        return Watch(self, single_key(key), start_revision=start_revision)

    async def _list(self, keys: KeyRange, *, serializable: bool, timeout_seconds: float) -> Snapshot:
        request = etcd_pb2.RangeRequest(
            key=keys.start, range_end=keys.end, limit=PAGE_KEYS, serializable=serializable
        )
        items: list[KeyValue] = []
        while True:
            page = await self._range.repeatable(request, timeout_seconds, needs_leader=not serializable)
            items.extend(key_value(item) for item in page.kvs)
            request.revision = request.revision or page.header.revision
            if not page.more:
                return Snapshot(request.revision, tuple(items))
            request.key = page.kvs[-1].key + b"\0"

    async def _delete_range(self, keys: KeyRange, timeout_seconds: float | None) -> int:
        response = await self._delete.once(delete_request(keys), timeout_seconds or self.timeout_seconds)
        return response.deleted

    async def _read_back(self, key: str, unknown: OutcomeUnknown) -> KeyValue | None:
        try:
            return await self.get(key)
        except ControlPlaneDown:
            raise unknown from None


def mod_revision(current: KeyValue | None) -> int:
    return current.mod_revision if current else ABSENT


def changed_by_another(key: str, current: KeyValue | None, *, expected_mod_revision: int) -> Conflict:
    if mod_revision(current) == expected_mod_revision:
        return Conflict(f"etcd key {key!r} was not changed: a guard (such as leadership) does not hold")
    return Conflict(
        f"etcd key {key!r} was expected at revision {expected_mod_revision}, is at {mod_revision(current)}: "
        "a concurrent change won; read it again and decide anew"
    )
