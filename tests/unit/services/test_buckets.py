"""Buckets through the proxy: usable at once, empty when made anew, and their bytes gone after the purge."""

from __future__ import annotations

import grpc.aio
import pytest

from shoal.bucket.v1 import bucket_pb2
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal.common.v1.common_pb2 import BucketReference
from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal.object.v1.object_pb2 import ListObjectsRequest
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from support.buckets import delete_bucket, finished
from support.node import Nodes
from support.uploads import get, put, reason

LARGE = bytes(200_000)


async def test_a_new_bucket_has_the_properties_that_were_asked_for(proxy_channel: grpc.aio.Channel) -> None:
    stub = BucketServiceStub(proxy_channel)
    properties = bucket_pb2.BucketProperties(checksum_type="md5", durability=bucket_pb2.DURABILITY_OS)
    reference = BucketReference(name="with-properties")
    created = await stub.CreateBucket(
        bucket_pb2.CreateBucketRequest(bucket=reference, properties=properties), timeout=10
    )
    answer = await stub.GetBucket(bucket_pb2.GetBucketRequest(bucket=reference), timeout=10)
    assert answer.bucket == created.bucket
    assert answer.bucket.properties.checksum_type == "md5"
    assert answer.bucket.properties.durability == bucket_pb2.DURABILITY_OS


async def test_a_bucket_is_made_once(proxy_channel: grpc.aio.Channel, bucket: BucketReference) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await BucketServiceStub(proxy_channel).CreateBucket(
            bucket_pb2.CreateBucketRequest(bucket=bucket), timeout=10
        )
    assert reason(refusal.value) == "BUCKET_ALREADY_EXISTS"


async def test_an_update_against_an_old_generation_is_a_conflict(
    proxy_channel: grpc.aio.Channel, bucket: BucketReference
) -> None:
    stub = BucketServiceStub(proxy_channel)
    request = bucket_pb2.UpdateBucketRequest(
        bucket=bucket, properties=bucket_pb2.BucketProperties(versioning=True)
    )
    updated = (await stub.UpdateBucket(request, timeout=10)).bucket
    assert updated.properties.versioning
    request.expected_generation = updated.generation - 1
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.UpdateBucket(request, timeout=10)
    assert reason(refusal.value) == "CONFLICT"


async def test_pages_of_buckets_hold_each_once(
    proxy_channel: grpc.aio.Channel, bucket: BucketReference
) -> None:
    stub = BucketServiceStub(proxy_channel)
    for name in ("page-a", "page-b"):
        await stub.CreateBucket(bucket_pb2.CreateBucketRequest(bucket=BucketReference(name=name)), timeout=10)
    names: list[str] = []
    token = ""
    while not names or token:
        page = await stub.ListBuckets(
            bucket_pb2.ListBucketsRequest(page_size=2, page_token=token), timeout=10
        )
        names += [each.reference.name for each in page.buckets]
        token = page.next_page_token
    assert names == sorted(set(names))
    assert {"page-a", "page-b", bucket.name} <= set(names)


async def test_a_deleted_bucket_is_gone_at_once_and_its_bytes_after_the_job(
    shared_nodes: Nodes, proxy_channel: grpc.aio.Channel, bucket: BucketReference
) -> None:
    objects = ObjectServiceStub(proxy_channel)
    before = len(shared_nodes.chunk_files())
    for number in range(3):
        await put(objects, bucket, f"large-{number}", data=LARGE)
        await put(objects, bucket, f"small-{number}", data=b"x")
    assert len(shared_nodes.chunk_files()) == before + 3
    job_id = await delete_bucket(proxy_channel, bucket)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await get(objects, bucket, "small-1")
    assert reason(refusal.value) == "BUCKET_NOT_FOUND"
    job = await finished(proxy_channel, job_id)
    assert (job.state, job.progress[0].objects) == (job_pb2.JOB_STATE_FINISHED, 6)
    assert len(shared_nodes.chunk_files()) == before


async def test_a_bucket_made_anew_is_empty(proxy_channel: grpc.aio.Channel, bucket: BucketReference) -> None:
    objects = ObjectServiceStub(proxy_channel)
    await put(objects, bucket, "old", data=b"x")
    await delete_bucket(proxy_channel, bucket)
    await BucketServiceStub(proxy_channel).CreateBucket(
        bucket_pb2.CreateBucketRequest(bucket=bucket), timeout=10
    )
    page = await objects.ListObjects(ListObjectsRequest(bucket=bucket), timeout=10)
    assert list(page.objects) == []
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await get(objects, bucket, "old")
    assert reason(refusal.value) == "OBJECT_NOT_FOUND"


async def test_jobs_are_listed_newest_first(proxy_channel: grpc.aio.Channel, bucket: BucketReference) -> None:
    stub = JobServiceStub(proxy_channel)
    newest = await delete_bucket(proxy_channel, bucket)
    page = await stub.ListJobs(job_pb2.ListJobsRequest(page_size=1), timeout=10)
    assert [job.id for job in page.jobs] == [newest]
    if page.next_page_token:
        request = job_pb2.ListJobsRequest(page_size=1, page_token=page.next_page_token)
        older = await stub.ListJobs(request, timeout=10)
        assert newest not in [job.id for job in older.jobs]
