"""The job `purge-bucket`: free what a removed bucket held on this target."""

from __future__ import annotations

from shoal_core.buckets import BucketDirectory
from shoal_core.jobs import JobSpecification, ProgressReport
from shoal_store.engine import Engine
from shoal_target.job_runner import Work

KNOWN_SECONDS_MAX = 5.0


def purge_with(engine: Engine, buckets: BucketDirectory) -> Work:
    """The job's work. It begins when the removal is known here: until then the committer lets writes in."""

    async def purge(job: JobSpecification, report: ProgressReport) -> None:
        while buckets.is_current(job.bucket_id):
            await buckets.wait_for_revision(buckets.revision + 1, KNOWN_SECONDS_MAX)
        async for purged in engine.purge_bucket(job.bucket_id):
            await report.add(objects=purged.objects, bytes=purged.bytes)

    return purge
