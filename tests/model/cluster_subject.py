"""A live cluster beside the model: driven by the gRPC client, read by S3 and REST too, its targets killed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from model.agreement import digest
from model.doors import Door, Found, RestDoor, S3Door, Unanswered
from model.subject import Subject
from model.uploads import StoreMachine
from shoal_client.client import ShoalClient
from shoal_core.errors import Unavailable
from shoal_core.jobs import JobState
from shoal_core.multipart import MultipartStore
from shoal_core.objects import Bucket, BucketProperties, ListQuery
from shoal_store.fsck import verify
from support.cluster import Cluster

MIB = 1 << 20
T = TypeVar("T")

PATIENCE_SECONDS = 20.0


class ClusterMachine(StoreMachine):
    cluster: Cluster
    """Set in a class of its own, as `tally`."""
    victims: Sequence[str] = ()
    """Targets, each killed once in a sequence where the machine restarts; afterwards the client connects anew. A
    process that is killed often is started again later and later."""

    def new_subject(self, mountpaths: int) -> Subject:
        return ClusterSubject(self.cluster, self.victims)


class ClusterSubject:
    shapes: Sequence[BucketProperties] = (
        BucketProperties(),
        BucketProperties(chunk_above_bytes=MIB, chunk_bytes=MIB, checksum_type="sha256"),
        BucketProperties(versioning=True, checksum_type="none", verify="always"),
    )
    forms: Sequence[BucketProperties] = (
        BucketProperties(),
        BucketProperties(chunk_above_bytes=MIB, chunk_bytes=MIB),
        BucketProperties(chunk_above_bytes=1, chunk_bytes=MIB),
        BucketProperties(chunk_above_bytes=MIB, chunk_bytes=2 * MIB),
    )

    def __init__(self, cluster: Cluster, victims: Sequence[str]) -> None:
        self._cluster = cluster
        self._victims = list(victims)
        self._prefix = secrets.token_hex(4)
        self._client: ShoalClient | None = None
        self._buckets: list[Bucket] = []

    @property
    def client(self) -> ShoalClient:
        assert self._client is not None
        return self._client

    @property
    def store(self) -> MultipartStore:
        return self.client.objects

    async def open(self) -> None:
        client = ShoalClient.connect(self._cluster.grpc_address, ca=self._cluster.ca)
        self._client = await client.__aenter__()

    async def restart(self) -> None:
        if not self._victims:
            await self._disconnect()
            await self.open()
            return
        await asyncio.to_thread(self._cluster.kill, self._victims.pop())
        await asyncio.to_thread(self._cluster.wait_ready)
        for bucket in self._buckets:
            await self._until_listed(bucket)

    async def add_bucket(self, number: int, properties: BucketProperties) -> Bucket:
        bucket = await self.client.create_bucket(f"model-{self._prefix}-{number}", properties=properties)
        self._buckets.append(bucket)
        return bucket

    async def remove_bucket(self, bucket: Bucket) -> None:
        self._buckets.remove(bucket)
        await self.client.delete_bucket(bucket.reference)

    async def rechunk(self, bucket: Bucket, properties: BucketProperties) -> None:
        job = await self.client.jobs.start_rechunk(
            bucket.reference,
            chunk_above_bytes=properties.chunk_above_bytes,
            chunk_bytes=properties.chunk_bytes,
        )
        ended = await self.client.jobs.ended(job.id)
        assert ended.state is JobState.FINISHED, ended

    async def compare_elsewhere(self, bucket: Bucket, name: str, body: bytes) -> None:
        doors: Sequence[Door] = (
            RestDoor(self._cluster, bucket.reference.name),
            S3Door(self._cluster, bucket.reference.name),
        )
        for door in doors:
            found = await asyncio.to_thread(patiently, door, name)
            assert digest(found.body) == digest(body), f"{door} {name}"

    async def shut(self) -> None:
        if self._client is not None:
            for bucket in list(self._buckets):
                await self.remove_bucket(bucket)
            await self._disconnect()

    def assert_sound(self) -> None:
        """Orphans may be left by a kill."""
        for mountpaths in by_target(self._cluster.mountpaths()).values():
            report = verify(mountpaths)
            assert ([each for each in report.findings if not each.harmless], report.damages) == ([], 0)

    def remove(self) -> None: ...

    async def _disconnect(self) -> None:
        client, self._client = self.client, None
        await client.close()

    async def _until_listed(self, bucket: Bucket) -> None:
        """A client needs a moment to find a target that was restarted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await self.store.list(bucket, ListQuery(limit=1))
                return
            except Unavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)


def patiently(door: Door, name: str) -> Found:
    return in_time(lambda: door.get(quote(name, safe="/")))


def in_time(ask: Callable[[], T]) -> T:
    """Asks again while processes come back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except Unanswered:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def by_target(mountpaths: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Mountpath id -> folder, for each target."""
    found: dict[str, dict[str, Path]] = {}
    for path in mountpaths:
        found.setdefault(path.parent.name, {})[path.name] = path
    return found
