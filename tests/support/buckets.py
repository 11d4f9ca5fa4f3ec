"""Buckets and their purge, with bare stubs."""

from __future__ import annotations

import asyncio

import grpc.aio

from shoal.bucket.v1.bucket_pb2 import Bucket, CreateBucketRequest, DeleteBucketRequest
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal.common.v1.common_pb2 import BucketReference
from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub

SECONDS_MAX = 20


async def create_bucket(channel: grpc.aio.Channel, bucket: BucketReference) -> Bucket:
    request = CreateBucketRequest(bucket=bucket)
    return (await BucketServiceStub(channel).CreateBucket(request, timeout=SECONDS_MAX)).bucket


async def delete_bucket(channel: grpc.aio.Channel, bucket: BucketReference) -> str:
    """Returns the id of the job that frees its space."""
    request = DeleteBucketRequest(bucket=bucket)
    return (await BucketServiceStub(channel).DeleteBucket(request, timeout=SECONDS_MAX)).job_id


async def finished(channel: grpc.aio.Channel, job_id: str) -> job_pb2.Job:
    """The job once it has ended."""
    stub = JobServiceStub(channel)
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            answer = await stub.GetJob(job_pb2.GetJobRequest(id=job_id), timeout=SECONDS_MAX)
            if answer.job.state != job_pb2.JOB_STATE_RUNNING:
                return answer.job
            await asyncio.sleep(0.05)
