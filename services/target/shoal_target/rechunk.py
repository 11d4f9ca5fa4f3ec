"""The job `rechunk`: rewrite what this target has of a bucket into chunks of another size, at a bounded rate."""

from __future__ import annotations

from dataclasses import replace

from shoal_core.access import NO_PERMISSIONS, node_principal
from shoal_core.buckets import BucketDirectory
from shoal_core.errors import BucketNotFound, DataCorrupt, Unavailable
from shoal_core.jobs import JobSpecification, ProgressReport, RechunkArguments
from shoal_core.load import Pace
from shoal_core.objects import Bucket
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine
from shoal_store.rechunk import Step, rechunk
from shoal_target.job_runner import Work

FAILURES_TOLD_MAX = 3


def rechunk_with(engine: Engine, buckets: BucketDirectory, *, rows_pace: Pace, bytes_pace: Pace) -> Work:
    """The job's work. It keeps no position: begun again, it passes over what has the form already, and so counts it.
    Objects that cannot be read make it fail, with DataCorrupt, once all others are done."""

    async def work(job: JobSpecification, progress: ProgressReport) -> None:
        bucket = in_form(await bucket_of(job, engine.target, buckets), arguments := RechunkArguments.of(job))
        failures: list[str] = []

        async def tell(step: Step) -> None:
            if step.failure:
                get_logger().error("object-not-rechunked", job=progress.job_id, reason=step.failure)
                failures.append(step.failure)
            await progress.add(objects=step.objects, bytes=step.bytes)
            await rows_pace.spend(step.rows)
            await bytes_pace.spend(step.bytes_copied)

        await rechunk(engine, bucket, arguments.prefix, tell)
        if failures:
            raise DataCorrupt(summary(failures))

    return work


async def bucket_of(job: JobSpecification, target: str, buckets: BucketDirectory) -> Bucket:
    """Raises BucketNotFound when it was removed, Unavailable when this target has yet to hear of it."""
    me = node_principal("target", target)
    bucket = await buckets.resolve(job.bucket, permission=NO_PERMISSIONS, principal=me)
    if bucket.id != job.bucket_id:
        raise BucketNotFound(f"{job.bucket} is another bucket now")
    if not buckets.is_current(bucket.id):
        raise Unavailable(f"{job.bucket} is not known here yet")
    return bucket


def in_form(bucket: Bucket, arguments: RechunkArguments) -> Bucket:
    """As if the bucket asked for this form itself."""
    properties = replace(
        bucket.properties,
        chunk_above_bytes=arguments.chunk_above_bytes,
        chunk_bytes=arguments.chunk_bytes,
    )
    return replace(bucket, properties=properties)


def summary(failures: list[str]) -> str:
    more = " ..." if len(failures) > FAILURES_TOLD_MAX else ""
    return f"{len(failures)} objects left as they are: {'; '.join(failures[:FAILURES_TOLD_MAX])}{more}"
