"""Jobs over many objects: each target does what it owns of them, batch after batch, and remembers how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from shoal_client.routing import all_of
from shoal_core.buckets import BucketDirectory
from shoal_core.errors import InvalidArgument, ObjectNotFound, ShoalError, TooBusy, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.jobs import JobSpecification, ProgressReport
from shoal_core.membership import ClusterView
from shoal_core.multipart import MultipartStore
from shoal_core.name_template import NameTemplate
from shoal_core.names import checked_object_name
from shoal_core.object_jobs import ObjectsArguments, names_of
from shoal_core.objects import Bucket, CopyRequest, ListQuery
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine
from shoal_target.job_runner import Work
from shoal_target.rechunk import bucket_of

BATCH_NAMES = 128
LIST_PAGE = 1000
FAILURES_TOLD_MAX = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a target needs of the others."""

    etcd: EtcdClient
    view: ClusterView
    buckets: BucketDirectory
    store: MultipartStore
    """Objects of all targets; this one's without a detour."""
    engine: Engine


@dataclass(frozen=True, slots=True)
class Batch:
    """Names that this target owns, and where the work goes on behind them."""

    names: Sequence[str]
    position: str
    seen: int = 0
    """Names up to there, those of other targets too, where they are counted."""


Handle = Callable[[str], Awaitable[int]]
"""Does what the job is about to one object; returns its bytes."""


class ObjectsJob:
    """One attempt of one job: which objects, and what happened to them."""

    def __init__(
        self, cluster: Cluster, job: JobSpecification, report: ProgressReport, bucket: Bucket
    ) -> None:
        self.arguments = ObjectsArguments.of(job)
        self.bucket = bucket
        self._cluster = cluster
        self._report = report
        self._failures: list[str] = []
        self.may_repeat = report.begun
        """Whether an attempt before this one may have done some of this batch."""

    async def run(self, handle: Handle) -> None:
        """Raises what the first object that fails raises, unless the job keeps going; Unavailable, TooBusy anyway."""
        workers = asyncio.Semaphore(self.arguments.workers_in_effect)
        await self._report.checkpoint()
        async for batch in self._batches():
            sizes = await all_of([self._one(name, handle, workers) for name in batch.names])
            done = [size for size in sizes if size is not None]
            self._report.seen = batch.seen
            await self._report.checkpoint(batch.position, objects=len(done), bytes=sum(done))
            self.may_repeat = False

    async def _one(self, name: str, handle: Handle, workers: asyncio.Semaphore) -> int | None:
        """None for an object that is not there, or could not be done."""
        async with workers:
            try:
                return await handle(name)
            except (Unavailable, TooBusy):
                raise
            except ObjectNotFound as error:
                # Templates and prefixes say which objects are meant if they exist.
                if self.arguments.listed:
                    self._failed(error)
            except ShoalError as error:
                self._failed(error)
        return None

    def _failed(self, error: ShoalError) -> None:
        if not self.arguments.keep_going:
            raise error
        self._failures.append(error.message)
        told = "; ".join(self._failures[:FAILURES_TOLD_MAX])
        self._report.error = f"{len(self._failures)} objects failed: {told}"
        get_logger().warning("object-of-job-failed", job=self._report.job_id, reason=error.message)

    async def _batches(self) -> AsyncIterator[Batch]:
        arguments = self.arguments
        if not (arguments.listed or arguments.template):
            async for batch in self._stored(arguments.prefix, after=self._report.position):
                yield batch
            return
        names = await self.names()
        self._report.total = len(names)
        me, owner_of = self._cluster.engine.target, self._cluster.view.current.target_of
        begin = int(self._report.position or 0)
        mine: list[str] = []
        for number, name in enumerate(names):
            if number < begin or owner_of(self.bucket.id, checked_object_name(name)).id != me:
                continue
            mine.append(name)
            if len(mine) == BATCH_NAMES:
                yield Batch(mine, str(number + 1), number + 1)
                mine = []
        if mine:
            yield Batch(mine, str(len(names)), len(names))

    async def names(self) -> NameTemplate | Sequence[str]:
        """Those that were listed, or that the template stands for."""
        if self.arguments.template:
            return NameTemplate.parse(self.arguments.template)
        return await names_of(self._cluster.etcd, self._report.job_id)

    async def _stored(self, prefix: str, *, after: str) -> AsyncIterator[Batch]:
        """What is there now; objects that are written while the job runs may be among them or not."""
        while True:
            query = ListQuery(prefix=prefix, start_after=after, limit=LIST_PAGE)
            page = await self._cluster.engine.store.list(self.bucket, query)
            names = [info.name for info in page.entries]
            for begin in range(0, len(names), BATCH_NAMES):
                batch = names[begin : begin + BATCH_NAMES]
                yield Batch(batch, batch[-1])
            after = page.next_after
            if not after:
                return


def delete_with(cluster: Cluster) -> Work:
    """The job's work."""

    async def work(job: JobSpecification, report: ProgressReport) -> None:
        bucket = await bucket_of(job, cluster.engine.target, cluster.buckets)
        deleting = ObjectsJob(cluster, job, report, bucket)

        async def delete(name: str) -> int:
            try:
                return (await cluster.engine.store.delete(bucket, name)).size
            except ObjectNotFound:
                # Deleted in the batch that was interrupted.
                if deleting.may_repeat and deleting.arguments.listed:
                    return 0
                raise

        await deleting.run(delete)

    return work


def copy_with(cluster: Cluster) -> Work:
    """The job's work. A copy that was interrupted repeats the batch that it was in."""

    async def work(job: JobSpecification, report: ProgressReport) -> None:
        bucket = await bucket_of(job, cluster.engine.target, cluster.buckets)
        copying = ObjectsJob(cluster, job, report, bucket)
        arguments = copying.arguments
        to = cluster.buckets.by_id(arguments.to_bucket_id)
        if to is None:
            raise Unavailable(f"{arguments.to_reference} is not known here yet, or was removed")
        check_ends(bucket, arguments)
        extensions: dict[str, str] = msgspec.json.decode(arguments.extensions or "{}")

        async def copy(name: str) -> int:
            new_name = arguments.prepend + with_extension(name, extensions)
            if arguments.dry_run:
                return (await cluster.engine.store.head(bucket, name)).size
            return await copy_object(cluster, bucket, name, to, new_name)

        await copying.run(copy)

    return work


def check_ends(bucket: Bucket, arguments: ObjectsArguments) -> None:
    """A walk over a bucket that it fills itself would find its own copies, and copy them for ever."""
    by_names = arguments.listed or arguments.template
    if arguments.to_id == bucket.id.hex() and not by_names and arguments.prepend.startswith(arguments.prefix):
        raise InvalidArgument(
            f"{bucket.reference} cannot be copied into itself under names that begin with {arguments.prefix!r}, "
            "which are to be copied too"
        )


async def copy_object(cluster: Cluster, bucket: Bucket, name: str, to: Bucket, new_name: str) -> int:
    """Everything that clients know of the object stays: content, etag, type, metadata."""
    if to.id == bucket.id and new_name == name:
        return 0
    request = CopyRequest(bucket, name, checked_object_name(new_name))
    return (await cluster.store.copy(to, request)).size


def with_extension(name: str, extensions: dict[str, str]) -> str:
    stem, dot, extension = name.rpartition(".")
    return f"{stem}.{extensions[extension]}" if dot and extension in extensions else name
