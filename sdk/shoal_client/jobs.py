"""Jobs of the cluster: what works in the background, and how scrubs, cleanups and rechunks are started."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import grpc.aio

from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal_client.cluster import proxy_is_control_plane
from shoal_core import messages
from shoal_core.jobs import CLEANUP, NO_BUCKET, Job, JobProgress, JobSpecification, JobState
from shoal_core.objects import BucketId, BucketReference
from shoal_core.rpc import call

Request = TypeVar("Request")
Response = TypeVar("Response")

CALL_SECONDS_MAX = 10.0
JOBS_PAGE = 1000
POLL_SECONDS = 0.5
STATES = {
    job_pb2.JOB_STATE_RUNNING: JobState.RUNNING,
    job_pb2.JOB_STATE_FINISHED: JobState.FINISHED,
    job_pb2.JOB_STATE_FAILED: JobState.FAILED,
    job_pb2.JOB_STATE_ABORTED: JobState.ABORTED,
}


class JobsClient:
    """Of a proxy."""

    def __init__(self, channel: grpc.aio.Channel, *, peer: str) -> None:
        self._stub = JobServiceStub(channel)
        self._peer = peer

    async def start_scrub(self) -> Job:
        """Have all targets verify all that they store; the one that is under way, if there is one."""
        response = await self._ask(self._stub.StartScrub, job_pb2.StartScrubRequest())
        return job_from_message(response.job)

    async def start_cleanup(self) -> Job:
        """Have all targets remove the files that no object names; the one that is under way, if there is one."""
        request = job_pb2.StartUpkeepRequest(kind=CLEANUP)
        return job_from_message((await self._ask(self._stub.StartUpkeep, request)).job)

    async def start_rechunk(
        self, bucket: BucketReference, *, chunk_above_bytes: int, chunk_bytes: int = 0, prefix: str = ""
    ) -> Job:
        """Have the bucket's objects rewritten: those of more than `chunk_above_bytes` (0: none) into chunks of
        `chunk_bytes` (0: 1 GiB), the others into one file each. The one that is under way, if it is the same.

        Raises BucketNotFound, and Conflict while the bucket is being rechunked otherwise.
        """
        request = job_pb2.StartRechunkRequest(
            bucket=messages.bucket_reference_to_message(bucket),
            chunk_above_bytes=chunk_above_bytes,
            chunk_bytes=chunk_bytes,
            prefix=prefix,
        )
        return job_from_message((await self._ask(self._stub.StartRechunk, request)).job)

    async def stop(self, job_id: str) -> Job:
        """Have it end soon; what it has done stays done. Raises JobNotFound."""
        return job_from_message((await self._ask(self._stub.StopJob, job_pb2.StopJobRequest(id=job_id))).job)

    async def remove(self, job_id: str) -> None:
        """Forget one that has ended. Raises JobNotFound, and Conflict while it runs."""
        await self._ask(self._stub.RemoveJob, job_pb2.RemoveJobRequest(id=job_id))

    async def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        response = await self._ask(self._stub.GetJob, job_pb2.GetJobRequest(id=job_id))
        return job_from_message(response.job)

    async def list(self, kind: str = "") -> Sequence[Job]:
        """Newest first; all kinds, or one."""
        jobs: list[Job] = []
        token = ""
        while True:
            request = job_pb2.ListJobsRequest(kind=kind, page_size=JOBS_PAGE, page_token=token)
            response = await self._ask(self._stub.ListJobs, request)
            jobs += map(job_from_message, response.jobs)
            token = response.next_page_token
            if not token:
                return jobs

    async def ended(self, job_id: str) -> Job:
        """The job once every target has ended its share, however long that takes. Raises JobNotFound."""
        while True:
            job = await self.get(job_id)
            if job.state is not JobState.RUNNING:
                return job
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """All of them may be repeated: a job that a lost answer started is the one under way."""
        with proxy_is_control_plane():
            return await call(
                method, request, timeout_seconds=CALL_SECONDS_MAX, idempotent=True, peer=self._peer
            )


def job_from_message(message: job_pb2.Job) -> Job:
    bucket = (
        messages.bucket_reference_from_message(message.bucket) if message.HasField("bucket") else NO_BUCKET
    )
    specification = JobSpecification(
        message.kind,
        bucket,
        BucketId(b""),
        tuple(progress.target for progress in message.progress),
        messages.timestamp_from_message(message.create_time),
    )
    return Job(message.id, specification, {each.target: progress_of(each) for each in message.progress})


def progress_of(message: job_pb2.JobProgress) -> JobProgress:
    return JobProgress(
        STATES.get(message.state, JobState.RUNNING),
        message.objects,
        message.bytes,
        message.error,
        messages.timestamp_from_message(message.update_time),
        seen=message.seen,
        total=message.total,
    )
