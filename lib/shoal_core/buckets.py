"""Buckets in etcd: `BucketDirectory` is how every process sees them, `BucketRegistry` is how the proxy changes them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from shoal_core.access import Permission, Principal, authorize
from shoal_core.cache import load_snapshot, save_snapshot
from shoal_core.errors import BucketAlreadyExists, BucketNotFound, Conflict, ControlPlaneDown, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.etcd.values import Absent, Delete, KeyValue, ModRevisionEquals, OutcomeUnknown, Put
from shoal_core.jobs import PURGE_BUCKET, JobSpecification, encode_specification, specification_key
from shoal_core.membership import FILL_SECONDS_MAX, PLACEMENT_KEY, ROOT, SEALED_KEY, PlacementRecord
from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference

BUCKETS_PREFIX = f"{ROOT}buckets/"
BUCKET_ID_BYTES = 8
CONFIRM_SECONDS_MAX = 2.0
UPDATE_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class BucketRecord:
    """JSON in etcd: fields are only ever added, with defaults."""

    id: bytes
    created_ns: int
    properties: BucketProperties = field(default_factory=BucketProperties)


class BucketDirectory:
    """All buckets, mirrored. A miss is confirmed with etcd's quorum, because a watch may lag behind."""

    def __init__(self, etcd: EtcdClient, cache_file: Path) -> None:
        self._etcd = etcd
        self._cache_file = cache_file
        self._mirror = Mirror(etcd, BUCKETS_PREFIX, initial=load_snapshot(cache_file))
        self._by_key: dict[str, Bucket] = {}
        self._by_id: dict[BucketId, Bucket] = {}
        self._index()
        self._follower: asyncio.Task[None] | None = None
        self._applied = asyncio.Condition()
        self._applied_revision = self._mirror.revision

    @property
    def revision(self) -> int:
        """Every change of buckets up to this revision is known here."""
        return self._applied_revision

    @property
    def connected(self) -> bool:
        return self._mirror.connected

    async def start(self) -> None:
        """Waits at most two seconds for etcd, then goes by the cache."""
        self._follower = asyncio.create_task(self._follow(), name="bucket-directory")
        self._mirror.start()
        with contextlib.suppress(ControlPlaneDown):
            await self._mirror.wait_until_filled(FILL_SECONDS_MAX)
            await self._apply()

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        await self._mirror.close()

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket:
        """Raises PermissionDenied, BucketNotFound, or ControlPlaneDown when etcd cannot confirm that there is none."""
        authorize(principal, permission, reference)
        key = key_of(reference)
        if (found := self._by_key.get(key)) is not None:
            return found
        try:
            item = await self._etcd.get(key, timeout_seconds=CONFIRM_SECONDS_MAX)
        except ControlPlaneDown as error:
            raise ControlPlaneDown(
                f"bucket {reference} is not known here, and etcd does not answer to confirm it: repeat later"
            ) from error
        if item is None:
            raise BucketNotFound(f'bucket "{reference}" does not exist', bucket=str(reference))
        return bucket_of(item)

    def list(self, provider: str = "") -> list[Bucket]:
        """Sorted by provider, namespace and name; all providers, or one."""
        found = [bucket for bucket in self._by_key.values() if provider in ("", bucket.reference.provider)]
        return sorted(found, key=lambda bucket: key_of(bucket.reference))

    def by_id(self, bucket_id: BucketId) -> Bucket | None:
        return self._by_id.get(bucket_id)

    def is_current(self, bucket_id: BucketId, generation: int = 0) -> bool:
        """Whether this very bucket still exists. Called from committer threads: reads one reference, once."""
        return bucket_id in self._by_id

    async def wait_for_revision(self, revision: int, timeout_seconds: float) -> None:
        """Until changes up to `revision` are applied here; raises ControlPlaneDown after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds), self._applied:
                await self._applied.wait_for(lambda: self._applied_revision >= revision)
        except TimeoutError as error:
            raise ControlPlaneDown(f"buckets are known here only up to revision {self.revision}") from error

    async def changed(self) -> int:
        """Until the next change; returns the revision."""
        async with self._applied:
            await self._applied.wait()
        return self._applied_revision

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._mirror.changes()) as changes:
            async for _ in changes:
                await self._apply()
                await asyncio.to_thread(save_snapshot, self._cache_file, self._mirror.snapshot())

    async def _apply(self) -> None:
        self._index()
        async with self._applied:
            self._applied_revision = self._mirror.revision
            self._applied.notify_all()

    def _index(self) -> None:
        """New dictionaries, swapped in whole: threads look at the old or the new ones."""
        by_key = {key: bucket_of(item) for key, item in self._mirror.items.items()}
        self._by_key, self._by_id = by_key, {bucket.id: bucket for bucket in by_key.values()}


class BucketRegistry:
    """Changes of buckets, by compare-and-swap."""

    def __init__(self, etcd: EtcdClient) -> None:
        self._etcd = etcd

    async def get(self, reference: BucketReference) -> Bucket:
        """As etcd's quorum has it. Raises BucketNotFound."""
        return bucket_of(await self._existing(reference))

    async def create(self, reference: BucketReference, properties: BucketProperties) -> Bucket:
        """Raises BucketAlreadyExists; Unavailable while no target has joined."""
        if await self._etcd.get(PLACEMENT_KEY) is None:
            raise Unavailable(
                "no target has joined the cluster yet, so there is no place for objects: start one"
            )
        key = key_of(reference)
        record = BucketRecord(secrets.token_bytes(BUCKET_ID_BYTES), time.time_ns(), properties)
        value = msgspec.json.encode(record)
        try:
            result = await self._etcd.transaction([Absent(key)], [Put(key, value), Put(SEALED_KEY, b"1")])
            created, revision = result.succeeded, result.revision
        except OutcomeUnknown:
            found = await self._etcd.get(key)
            if found is None:
                raise
            created, revision = found.value == value, found.mod_revision
        if not created:
            raise BucketAlreadyExists(f'bucket "{reference}" already exists', bucket=str(reference))
        return Bucket(reference, BucketId(record.id), revision, record.created_ns, properties)

    async def update(
        self, reference: BucketReference, properties: BucketProperties, *, expected_generation: int
    ) -> Bucket:
        """Raises BucketNotFound, Conflict when the bucket has another generation now."""
        found = await self._existing(reference)
        record = msgspec.json.decode(found.value, type=BucketRecord)
        if found.mod_revision != expected_generation:
            raise Conflict(
                f"bucket {reference} has changed meanwhile: look at it and repeat", bucket=str(reference)
            )
        changed = BucketRecord(record.id, record.created_ns, properties)
        revision = await self._etcd.put_if(
            found.key, msgspec.json.encode(changed), expected_mod_revision=found.mod_revision
        )
        return Bucket(reference, BucketId(record.id), revision, record.created_ns, properties)

    async def delete(self, reference: BucketReference) -> tuple[str, int]:
        """Remove the bucket and order its purge, as one change. Returns the job's id and the revision."""
        for _ in range(UPDATE_ATTEMPTS):
            found = await self._existing(reference)
            placement = await self._etcd.get(PLACEMENT_KEY)
            targets = msgspec.json.decode(placement.value, type=PlacementRecord).targets if placement else ()
            bucket = bucket_of(found)
            job_id = f"j-{secrets.token_hex(6)}"
            job = JobSpecification(
                PURGE_BUCKET, reference, bucket.id, tuple(share.id for share in targets), time.time_ns()
            )
            result = await self._etcd.transaction(
                [ModRevisionEquals(found.key, found.mod_revision)],
                [Delete(found.key), Put(specification_key(job_id), encode_specification(job))],
            )
            if result.succeeded:
                return job_id, result.revision
        raise Conflict(f"bucket {reference} is changed by others all the time: repeat", bucket=str(reference))

    async def _existing(self, reference: BucketReference) -> KeyValue:
        found = await self._etcd.get(key_of(reference))
        if found is None:
            raise BucketNotFound(f'bucket "{reference}" does not exist', bucket=str(reference))
        return found


def key_of(reference: BucketReference) -> str:
    return f"{BUCKETS_PREFIX}{reference.provider}/{reference.namespace or '@'}/{reference.name}"


def bucket_of(item: KeyValue) -> Bucket:
    provider, namespace, name = item.key.removeprefix(BUCKETS_PREFIX).split("/")
    record = msgspec.json.decode(item.value, type=BucketRecord)
    reference = BucketReference(name, provider, "" if namespace == "@" else namespace)
    return Bucket(reference, BucketId(record.id), item.mod_revision, record.created_ns, record.properties)
