"""The job `summary-bck`: what a bucket, or every bucket, holds on this target."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from shoal_core.buckets import BucketDirectory
from shoal_core.errors import BucketNotFound
from shoal_core.host import host_id
from shoal_core.jobs import NO_BUCKET, JobSpecification, ProgressReport
from shoal_core.objects import BucketId
from shoal_core.usage import BucketUsage, together
from shoal_store.engine import Engine
from shoal_store.summary import summary_batch
from shoal_store.threads import in_thread
from shoal_target.job_runner import Work


def summarize_with(engine: Engine, buckets: BucketDirectory) -> Work:
    """The job's work. Interrupted, it begins anew: the figures are told at the end only."""

    async def work(job: JobSpecification, report: ProgressReport) -> None:
        prefix = str(job.arguments.get("prefix", ""))
        if job.bucket == NO_BUCKET:
            wanted = [bucket.id for bucket in buckets.list()]
        elif buckets.is_current(job.bucket_id):
            wanted = [job.bucket_id]
        else:
            raise BucketNotFound(f'bucket "{job.bucket}" does not exist')
        report.disks = await in_thread(partial(disks_of, engine))
        for bucket_id in wanted:
            report.usage[bucket_id.hex()] = await usage_of(engine, bucket_id, prefix, report)

    return work


async def usage_of(engine: Engine, bucket_id: BucketId, prefix: str, report: ProgressReport) -> BucketUsage:
    found: list[BucketUsage] = []
    for index in engine.indexes.values():
        for table in (index.records, index.versions):
            after = b""
            while True:
                batch = await in_thread(summary_batch, index, table, bucket_id, prefix, after)
                if not batch.last:
                    break
                after, usage = batch.last, batch.usage
                found.append(usage)
                await report.add(objects=usage.objects, bytes=usage.bytes)
    return together(found)


def disks_of(engine: Engine) -> Mapping[str, int]:
    """Bytes of each filesystem, by a name that all targets of the host give to it. Blocks."""
    disks = {}
    for folder in engine.mountpaths.available():
        found = os.statvfs(folder.path)
        disks[f"{host_id()}/{folder.path.stat().st_dev}"] = found.f_blocks * found.f_frsize
    return disks
