"""Jobs as users see them."""

from __future__ import annotations

import time

from shoal.job.v1 import job_pb2, job_pb2_grpc
from shoal_core import messages
from shoal_core.errors import InvalidArgument, Unavailable
from shoal_core.jobs import NO_BUCKET, SCRUB, Job, JobBoard, JobProgress, JobSpecification, JobState
from shoal_core.membership import ClusterView
from shoal_core.objects import BucketId
from shoal_core.rpc import Context

PAGE_JOBS_DEFAULT = 100
PAGE_JOBS_MAX = 1000
STATES = {
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.FINISHED: job_pb2.JOB_STATE_FINISHED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
}


class JobServicer(job_pb2_grpc.JobServiceServicer):
    def __init__(self, board: JobBoard, view: ClusterView) -> None:
        self._board = board
        self._view = view

    async def StartScrub(
        self, request: job_pb2.StartScrubRequest, context: Context
    ) -> job_pb2.StartScrubResponse:
        # Two that ask at the same moment may start two: they are then done one after the other.
        running = [job for job in await self._board.list(SCRUB) if job.state is JobState.RUNNING]
        job = running[-1] if running else await self._board.start(self._scrub())
        return job_pb2.StartScrubResponse(job=job_message(job))

    def _scrub(self) -> JobSpecification:
        targets = tuple(target.id for target in self._view.current.targets)
        if not targets:
            raise Unavailable("no target has joined the cluster yet: start one, then repeat")
        return JobSpecification(SCRUB, NO_BUCKET, BucketId(b""), targets, time.time_ns())

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
    )
    if progress.updated_ns:
        message.update_time.CopyFrom(messages.timestamp_to_message(progress.updated_ns))
    return message
