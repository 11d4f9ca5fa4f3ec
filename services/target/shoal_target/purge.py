"""The job `purge-bucket`: free what a removed bucket held on this target."""

from __future__ import annotations

from shoal_core.jobs import JobSpecification, ProgressReport
from shoal_store.engine import Engine
from shoal_target.job_runner import Work


def purge_with(engine: Engine) -> Work:
    """The job's work. The engine refuses, for a retry, until the removal of the bucket is known here."""

    async def purge(job: JobSpecification, report: ProgressReport) -> None:
        async for purged in engine.purge_bucket(job.bucket_id):
            await report.add(objects=purged.objects, bytes=purged.bytes)

    return purge
