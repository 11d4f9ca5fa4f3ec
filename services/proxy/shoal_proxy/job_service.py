"""Jobs as users see them."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

from shoal.job.v1 import job_pb2, job_pb2_grpc
from shoal_core import messages
from shoal_core.access import Permission
from shoal_core.errors import Conflict, InvalidArgument, Unavailable
from shoal_core.jobs import (
    CLEANUP,
    NO_BUCKET,
    RECHUNK,
    SCRUB,
    SUMMARY,
    UPKEEP,
    Job,
    JobProgress,
    JobSpecification,
    JobState,
    RechunkArguments,
)
from shoal_core.object_jobs import OBJECT_JOBS, ObjectsArguments
from shoal_core.objects import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    OBJECT_NAME_BYTES_MAX,
    Bucket,
    BucketId,
    BucketReference,
)
from shoal_core.rpc import Context, current_principal
from shoal_core.usage import BucketUsage
from shoal_proxy.object_jobs import ObjectJobs

NO_BUCKET_ID = BucketId(b"")
PAGE_JOBS_DEFAULT = 100
PAGE_JOBS_MAX = 1000
STATES = {
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.FINISHED: job_pb2.JOB_STATE_FINISHED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
    JobState.ABORTED: job_pb2.JOB_STATE_ABORTED,
}


class JobServicer(job_pb2_grpc.JobServiceServicer):
    def __init__(self, of_objects: ObjectJobs) -> None:
        self._of_objects = of_objects
        self._board = of_objects.board
        self._view = of_objects.view
        self._directory = of_objects.directory

    async def StartDelete(
        self, request: job_pb2.StartDeleteRequest, context: Context
    ) -> job_pb2.StartDeleteResponse:
        return job_pb2.StartDeleteResponse(job=job_message(await self._of_objects.delete(request)))

    async def StartCopy(
        self, request: job_pb2.StartCopyRequest, context: Context
    ) -> job_pb2.StartCopyResponse:
        return job_pb2.StartCopyResponse(job=job_message(await self._of_objects.copy(request)))

    async def StartArchive(
        self, request: job_pb2.StartArchiveRequest, context: Context
    ) -> job_pb2.StartArchiveResponse:
        return job_pb2.StartArchiveResponse(job=job_message(await self._of_objects.archive(request)))

    async def StartUpkeep(
        self, request: job_pb2.StartUpkeepRequest, context: Context
    ) -> job_pb2.StartUpkeepResponse:
        if request.kind not in UPKEEP:
            raise InvalidArgument(
                f"upkeep {request.kind[:40]!r} is none of {', '.join(UPKEEP)}", field="kind"
            )
        if request.kind == CLEANUP:
            return job_pb2.StartUpkeepResponse(job=job_message(await self._one_of_all_targets(CLEANUP)))
        over = JobSpecification(request.kind, NO_BUCKET, NO_BUCKET_ID, (), time.time_ns())
        return job_pb2.StartUpkeepResponse(job=job_message(await self._board.start(over)))

    async def StopJob(self, request: job_pb2.StopJobRequest, context: Context) -> job_pb2.StopJobResponse:
        return job_pb2.StopJobResponse(job=job_message(await self._board.stop(request.id)))

    async def RemoveJob(
        self, request: job_pb2.RemoveJobRequest, context: Context
    ) -> job_pb2.RemoveJobResponse:
        await self._board.remove(request.id)
        return job_pb2.RemoveJobResponse()

    async def StartScrub(
        self, request: job_pb2.StartScrubRequest, context: Context
    ) -> job_pb2.StartScrubResponse:
        return job_pb2.StartScrubResponse(job=job_message(await self._one_of_all_targets(SCRUB)))

    async def _one_of_all_targets(self, kind: str) -> Job:
        """The one that runs, if there is one."""
        # Two that ask at the same moment may start two: they are then done one after the other.
        running = [job for job in await self._board.list(kind) if job.state is JobState.RUNNING]
        return running[-1] if running else await self._board.start(self._of_all_targets(kind))

    def _of_all_targets(
        self, kind: str, bucket: BucketReference = NO_BUCKET, bucket_id: BucketId = NO_BUCKET_ID
    ) -> JobSpecification:
        targets = tuple(target.id for target in self._view.current.targets)
        if not targets:
            raise Unavailable("no target has joined the cluster yet: start one, then repeat")
        return JobSpecification(kind, bucket, bucket_id, targets, time.time_ns())

    async def StartRechunk(
        self, request: job_pb2.StartRechunkRequest, context: Context
    ) -> job_pb2.StartRechunkResponse:
        bucket = await self._directory.resolve(
            messages.bucket_reference_from_message(request.bucket),
            permission=Permission.PUT,
            principal=current_principal(),
        )
        arguments = rechunk_arguments(request)
        # Two that ask at the same moment may start two: they are then done one after the other.
        running = await self._running_rechunk(bucket, arguments)
        if running is None:
            made = replace(
                self._of_all_targets(RECHUNK, bucket.reference, bucket.id), arguments=asdict(arguments)
            )
            running = await self._board.start(made)
        return job_pb2.StartRechunkResponse(job=job_message(running))

    async def StartSummary(
        self, request: job_pb2.StartSummaryRequest, context: Context
    ) -> job_pb2.StartSummaryResponse:
        made = self._of_all_targets(SUMMARY)
        if request.HasField("bucket"):
            bucket = await self._directory.resolve(
                messages.bucket_reference_from_message(request.bucket),
                permission=Permission.LIST_OBJECTS,
                principal=current_principal(),
            )
            made = self._of_all_targets(SUMMARY, bucket.reference, bucket.id)
        check_prefix(request.prefix)
        job = await self._board.start(replace(made, arguments={"prefix": request.prefix}))
        return job_pb2.StartSummaryResponse(job=job_message(job))

    async def _running_rechunk(self, bucket: Bucket, arguments: RechunkArguments) -> Job | None:
        """Raises Conflict when one runs that was asked for in other words."""
        for job in await self._board.list(RECHUNK):
            if job.specification.bucket_id != bucket.id or job.state is not JobState.RUNNING:
                continue
            if job.specification.arguments != asdict(arguments):
                raise Conflict(
                    f"job {job.id} is rechunking {bucket.reference} into another form: wait for its end, then repeat",
                    job=job.id,
                )
            return job
        return None

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Context) -> job_pb2.GetJobResponse:
        return job_pb2.GetJobResponse(job=job_message(await self._board.get(request.id)))

    async def ListJobs(self, request: job_pb2.ListJobsRequest, context: Context) -> job_pb2.ListJobsResponse:
        if not 0 <= request.page_size <= PAGE_JOBS_MAX:
            raise InvalidArgument(
                f"page_size is {request.page_size}; use 1 to {PAGE_JOBS_MAX}, or 0 for {PAGE_JOBS_DEFAULT}",
                field="page_size",
            )
        size = request.page_size or PAGE_JOBS_DEFAULT
        older = [job for job in await self._board.list(request.kind) if is_after(job, request.page_token)]
        token = token_of(older[size - 1]) if len(older) > size else ""
        return job_pb2.ListJobsResponse(
            jobs=[job_message(job) for job in older[:size]], next_page_token=token
        )


def rechunk_arguments(request: job_pb2.StartRechunkRequest) -> RechunkArguments:
    """Raises InvalidArgument."""
    if request.chunk_above_bytes < 0:
        raise InvalidArgument(
            f"chunk_above_bytes is {request.chunk_above_bytes}: it must not be negative",
            field="chunk_above_bytes",
        )
    if request.chunk_bytes and not CHUNK_BYTES_MIN <= request.chunk_bytes <= CHUNK_BYTES_MAX:
        raise InvalidArgument(
            f"chunk_bytes is {request.chunk_bytes}: use {CHUNK_BYTES_MIN} to {CHUNK_BYTES_MAX}, "
            "or 0 for the default",
            field="chunk_bytes",
        )
    check_prefix(request.prefix)
    # Without chunks their size says nothing, and must not make two requests differ.
    chunk_bytes = request.chunk_bytes if request.chunk_above_bytes else 0
    return RechunkArguments(request.chunk_above_bytes, chunk_bytes, request.prefix)


def check_prefix(prefix: str) -> None:
    """Raises InvalidArgument."""
    if len(prefix.encode()) > OBJECT_NAME_BYTES_MAX:
        raise InvalidArgument(
            f"the prefix is longer than the {OBJECT_NAME_BYTES_MAX} bytes of any name", field="prefix"
        )


def token_of(job: Job) -> str:
    return f"{job.specification.created_ns:020}/{job.id}"


def is_after(job: Job, token: str) -> bool:
    """Whether the newest-first list shows `job` after the one that the token names."""
    return not token or token_of(job) < token


def job_message(job: Job) -> job_pb2.Job:
    message = job_pb2.Job(
        id=job.id,
        kind=job.specification.kind,
        state=STATES[job.state],
        create_time=messages.timestamp_to_message(job.specification.created_ns),
        progress=[progress_message(target, job.progress_of(target)) for target in job.specification.targets],
    )
    if job.specification.bucket != NO_BUCKET:
        message.bucket.CopyFrom(messages.bucket_reference_to_message(job.specification.bucket))
    if job.specification.kind in OBJECT_JOBS:
        arguments = ObjectsArguments.of(job.specification)
        message.workers = arguments.workers_in_effect
        if arguments.to_name:
            message.to_bucket.CopyFrom(messages.bucket_reference_to_message(arguments.to_reference))
    if job.ended_ns:
        message.end_time.CopyFrom(messages.timestamp_to_message(job.ended_ns))
    return message


def progress_message(target: str, progress: JobProgress) -> job_pb2.JobProgress:
    message = job_pb2.JobProgress(
        target=target,
        state=STATES[progress.state],
        objects=progress.objects,
        bytes=progress.bytes,
        error=progress.error,
        usage=[usage_message(bucket_id, usage) for bucket_id, usage in progress.usage.items()],
        disk_bytes=progress.disks,
        seen=progress.seen,
        total=progress.total,
    )
    if progress.updated_ns:
        message.update_time.CopyFrom(messages.timestamp_to_message(progress.updated_ns))
    return message


def usage_message(bucket_id: str, usage: BucketUsage) -> job_pb2.BucketUsage:
    return job_pb2.BucketUsage(bucket_id=bytes.fromhex(bucket_id), **asdict(usage))
