"""The job `cleanup-store` with real processes: what a killed write left goes, and nothing that anybody needs."""

from __future__ import annotations

import os

import pytest

from shoal.common.v1.common_pb2 import BucketReference
from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from support.buckets import SECONDS_MAX, create_bucket, finished
from support.node import Nodes
from support.uploads import put as put_by_rpc

pytestmark = pytest.mark.slow
KIND = job_pb2.StartUpkeepRequest(kind="cleanup-store")


async def test_a_file_that_no_record_names_is_removed_by_the_job(own_nodes: Nodes) -> None:
    own_nodes.target("t1", cleanup_age_seconds=0).start()
    own_nodes.proxy().start()
    bucket = BucketReference(name="b")
    async with own_nodes.channel("p1") as channel:
        await create_bucket(channel, bucket)
        data = os.urandom(100_000)
        await put_by_rpc(ObjectServiceStub(channel), bucket, "a", data=data)
        (named,) = own_nodes.chunk_files("t1")
        orphan = named.with_name(f"{named.name[:2]:0<32}")
        orphan.write_bytes(data)
        started = await JobServiceStub(channel).StartUpkeep(KIND, timeout=SECONDS_MAX)
        job = await finished(channel, started.job.id)
    assert job.state == job_pb2.JOB_STATE_FINISHED
    assert [(each.objects, each.bytes) for each in job.progress] == [(1, len(data))]
    assert own_nodes.chunk_files("t1") == [named]
