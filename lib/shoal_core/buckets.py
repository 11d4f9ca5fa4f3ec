"""Buckets in etcd: `BucketDirectory` is how every process sees them, `BucketRegistry` is how the proxy changes them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import msgspec

from shoal_core.access import Permission, Principal, authorize
from shoal_core.cache import decoded, keep_saved, load_snapshot
from shoal_core.errors import (
    BucketAlreadyExists,
    BucketNotFound,
    Conflict,
    ControlPlaneDown,
    DataCorrupt,
    Unavailable,
)
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.etcd.values import Absent, Delete, KeyValue, ModRevisionEquals, OutcomeUnknown, Put
from shoal_core.jobs import (
    MOVE_BUCKET,
    PURGE_BUCKET,
    JobSpecification,
    encode_specification,
    new_job_id,
    specification_key,
)
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

    def __init__(
        self, etcd: EtcdClient, cache_file: Path, *, is_fresh: Callable[[], bool] = lambda: True
    ) -> None:
        """While it is not fresh, what the mirror has is confirmed as a miss is."""
        self._etcd = etcd
        self._cache_file = cache_file
        self._is_fresh = is_fresh
        self._mirror = Mirror(etcd, BUCKETS_PREFIX, initial=load_snapshot(cache_file))
        self._by_key: dict[str, Bucket] = {}
        self._by_id: dict[BucketId, Bucket] = {}
        self._applied_revision = 0
        self._changed = asyncio.Event()
        self._apply()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def revision(self) -> int:
        """Every change of buckets up to this revision is known here."""
        return self._applied_revision

    @property
    def connected(self) -> bool:
        return self._mirror.connected

    async def start(self) -> None:
        """Waits at most two seconds for etcd, then goes by the cache."""
        self._tasks = [
            asyncio.create_task(self._follow(), name="bucket-directory"),
            asyncio.create_task(
                keep_saved(self._cache_file, self._mirror.snapshot, changed=self.changed), name="bucket-cache"
            ),
        ]
        self._mirror.start()
        with contextlib.suppress(ControlPlaneDown):
            await self._mirror.wait_until_filled(FILL_SECONDS_MAX)
        self._apply()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._mirror.close()

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket:
        """Raises PermissionDenied, BucketNotFound, or ControlPlaneDown when etcd cannot confirm that there is none."""
        if (found := self.known(reference, permission=permission, principal=principal)) is not None:
            return found
        key = key_of(reference)
        try:
            item = await self._etcd.get(key, timeout_seconds=CONFIRM_SECONDS_MAX)
        except ControlPlaneDown as error:
            raise ControlPlaneDown(
                f"bucket {reference} is not known here, and etcd does not answer to confirm it: repeat later"
            ) from error
        return existing(item, reference)

    def known(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket | None:
        """The bucket if the mirror has it and is fresh: a `resolve` that asks nobody. Raises PermissionDenied."""
        authorize(principal, permission, reference)
        return self._by_key.get(key_of(reference)) if self._is_fresh() else None

    def state(self) -> object | None:
        """The same object for as long as `known` gives the same answers; None while the mirror is not fresh."""
        return self._by_key if self._is_fresh() else None

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
            async with asyncio.timeout(timeout_seconds):
                while self._applied_revision < revision:
                    await self._changed.wait()
        except TimeoutError as error:
            raise ControlPlaneDown(f"buckets are known here only up to revision {self.revision}") from error

    async def catch_up(self, timeout_seconds: float) -> None:
        """Until the buckets are known here as etcd's quorum has them now. Raises ControlPlaneDown."""
        await self._mirror.catch_up(timeout_seconds)
        self._apply()

    async def changed(self) -> int:
        """Until the next change; returns the revision."""
        await self._changed.wait()
        return self._applied_revision

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._mirror.changes()) as changes:
            async for _ in changes:
                self._apply()

    def _apply(self) -> None:
        """New dictionaries, swapped in whole, because threads look at them; only then is the revision ours."""
        by_key = {}
        for key, item in self._mirror.items.items():
            if (bucket := bucket_of(item)) is not None:
                by_key[key] = bucket
        self._by_key, self._by_id = by_key, {bucket.id: bucket for bucket in by_key.values()}
        self._applied_revision = self._mirror.revision
        done, self._changed = self._changed, asyncio.Event()
        done.set()


class BucketRegistry:
    """Changes of buckets, by compare-and-swap."""

    def __init__(self, etcd: EtcdClient) -> None:
        self._etcd = etcd

    async def get(self, reference: BucketReference) -> Bucket:
        """As etcd's quorum has it. Raises BucketNotFound."""
        return existing(await self._etcd.get(key_of(reference)), reference)

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
        current = await self.get(reference)
        if current.generation != expected_generation:
            raise Conflict(
                f"bucket {reference} has changed meanwhile: look at it and repeat", bucket=str(reference)
            )
        record = BucketRecord(current.id, current.created_ns, properties)
        revision = await self._etcd.put_if(
            key_of(reference), msgspec.json.encode(record), expected_mod_revision=current.generation
        )
        return replace(current, generation=revision, properties=properties)

    async def delete(self, reference: BucketReference) -> tuple[str, int]:
        """Remove the bucket and order its purge, as one change. Returns the job's id and the revision."""
        for _ in range(UPDATE_ATTEMPTS):
            bucket = await self.get(reference)
            job_id = new_job_id()
            job = JobSpecification(PURGE_BUCKET, reference, bucket.id, await self._targets(), time.time_ns())
            if revision := await self._delete(bucket, job_id, job):
                return job_id, revision
        raise Conflict(f"bucket {reference} is changed by others all the time: repeat", bucket=str(reference))

    async def rename(self, reference: BucketReference, to: BucketReference) -> tuple[Bucket, str]:
        """One change in etcd: rows and files know a bucket by its id. Returns it, and the id of a job that is over.

        Raises BucketNotFound, BucketAlreadyExists.
        """
        for _ in range(UPDATE_ATTEMPTS):
            bucket = await self.get(reference)
            record = msgspec.json.encode(BucketRecord(bucket.id, bucket.created_ns, bucket.properties))
            job_id = new_job_id()
            job = JobSpecification(MOVE_BUCKET, to, bucket.id, (), time.time_ns())
            order = Put(specification_key(job_id), encode_specification(job))
            result = await self._etcd.transaction(
                [ModRevisionEquals(key_of(reference), bucket.generation), Absent(key_of(to))],
                [Delete(key_of(reference)), Put(key_of(to), record), order],
            )
            if result.succeeded:
                return replace(bucket, reference=to, generation=result.revision), job_id
            if await self._etcd.get(key_of(to)) is not None:
                raise BucketAlreadyExists(f'bucket "{to}" already exists', bucket=str(to))
        raise Conflict(f"bucket {reference} is changed by others all the time: repeat", bucket=str(reference))

    async def _targets(self) -> tuple[str, ...]:
        found = await self._etcd.get(PLACEMENT_KEY)
        if found is None:
            return ()
        return tuple(share.id for share in msgspec.json.decode(found.value, type=PlacementRecord).targets)

    async def _delete(self, bucket: Bucket, job_id: str, job: JobSpecification) -> int | None:
        """The revision of the change; None when the bucket was changed meanwhile."""
        key, order = key_of(bucket.reference), specification_key(job_id)
        try:
            result = await self._etcd.transaction(
                [ModRevisionEquals(key, bucket.generation)],
                [Delete(key), Put(order, encode_specification(job))],
            )
        except OutcomeUnknown:
            # Nobody else writes an order of this id, so it tells whether the change was made.
            if (found := await self._etcd.get(order)) is None:
                raise
            return found.mod_revision
        return result.revision if result.succeeded else None


def existing(item: KeyValue | None, reference: BucketReference) -> Bucket:
    """Raises BucketNotFound."""
    if item is None:
        raise BucketNotFound(f'bucket "{reference}" does not exist', bucket=str(reference))
    if (bucket := bucket_of(item)) is None:
        raise DataCorrupt(
            f"the record of bucket {reference} in etcd was written by a release that we are not"
        )
    return bucket


@lru_cache(4096)
def key_of(reference: BucketReference) -> str:
    return f"{BUCKETS_PREFIX}{reference.provider}/{reference.namespace or '@'}/{reference.name}"


def bucket_of(item: KeyValue) -> Bucket | None:
    """None for a record that this release does not understand."""
    place = item.key.removeprefix(BUCKETS_PREFIX).split("/")
    if len(place) != 3 or (record := decoded(item, BucketRecord)) is None:
        return None
    reference = BucketReference(place[2], place[0], "" if place[1] == "@" else place[1])
    return Bucket(reference, BucketId(record.id), item.mod_revision, record.created_ns, record.properties)
