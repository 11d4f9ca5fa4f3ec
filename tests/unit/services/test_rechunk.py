"""The job `rechunk` on real processes: asked for once, paced, seen, and gone on with after its target's death."""

from __future__ import annotations

import asyncio
import os

import grpc.aio
import pytest

from shoal.common.v1.common_pb2 import BucketReference
from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal.object.v1.object_pb2 import HeadObjectRequest
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_core import messages
from shoal_core.errors import BucketNotFound, Conflict, InvalidArgument
from shoal_core.jobs import RechunkArguments
from shoal_core.rpc import call
from shoal_gateway.rest.errors import row_of
from shoal_gateway.rest.jobs import RechunkMessage, start_rechunk
from shoal_proxy.job_service import rechunk_arguments
from support.buckets import SECONDS_MAX, create_bucket, delete_bucket, finished
from support.node import Nodes
from support.uploads import get as get_by_rpc, put as put_by_rpc

MIB = 1 << 20
BUCKET = BucketReference(name="b")
OBJECTS = {f"n{number}": os.urandom(MIB + MIB // 2 + number) for number in range(5)}


@pytest.mark.parametrize(
    ("above", "chunk", "prefix", "field"),
    [
        (-1, 0, "", "chunk_above_bytes"),
        (1, -1, "", "chunk_bytes"),
        (1, MIB - 1, "", "chunk_bytes"),
        (1, (5 << 30) + 1, "", "chunk_bytes"),
        (1, MIB, "x" * 1025, "prefix"),
    ],
)
def test_values_that_make_no_sense_are_refused(above: int, chunk: int, prefix: str, field: str) -> None:
    request = job_pb2.StartRechunkRequest(chunk_above_bytes=above, chunk_bytes=chunk, prefix=prefix)
    with pytest.raises(InvalidArgument) as caught:
        rechunk_arguments(request)
    assert caught.value.metadata["field"] == field


def test_without_chunks_their_size_makes_no_difference() -> None:
    request = job_pb2.StartRechunkRequest(chunk_above_bytes=0, chunk_bytes=MIB, prefix="p")
    assert rechunk_arguments(request) == RechunkArguments(0, 0, "p")


async def start(
    channel: grpc.aio.Channel, above: int, *, bucket: BucketReference = BUCKET, prefix: str = ""
) -> job_pb2.Job:
    request = job_pb2.StartRechunkRequest(
        bucket=bucket, chunk_above_bytes=above, chunk_bytes=MIB, prefix=prefix
    )
    stub = JobServiceStub(channel)
    return (await call(stub.StartRechunk, request, timeout_seconds=SECONDS_MAX, peer="p1")).job


async def fill(channel: grpc.aio.Channel) -> None:
    await create_bucket(channel, BUCKET)
    for name, data in OBJECTS.items():
        await put_by_rpc(ObjectServiceStub(channel), BUCKET, name, data=data)


async def chunk_counts(channel: grpc.aio.Channel) -> list[int]:
    """Of all objects, each of which is read whole on the way."""
    counts = []
    for name, data in OBJECTS.items():
        assert await get_by_rpc(ObjectServiceStub(channel), BUCKET, name) == data
        request = HeadObjectRequest(bucket=BUCKET, name=name)
        answer = await ObjectServiceStub(channel).HeadObject(request, timeout=SECONDS_MAX)
        counts.append(answer.object.chunk_count)
    return counts


async def under_way(channel: grpc.aio.Channel, job_id: str) -> None:
    """Until the job's progress has an object."""
    request = job_pb2.GetJobRequest(id=job_id)
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            job = (await JobServiceStub(channel).GetJob(request, timeout=SECONDS_MAX)).job
            assert job.state == job_pb2.JOB_STATE_RUNNING
            if job.progress[0].objects:
                return
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_every_target_rechunks_what_it_has(own_nodes: Nodes) -> None:
    own_nodes.target("t1").start()
    own_nodes.target("t2").start()
    own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel:
        await fill(channel)
        for above, count in ((1, 2), (0, 0)):
            job = await finished(channel, (await start(channel, above)).id)
            assert (job.kind, job.bucket.name, job.state) == ("rechunk", "b", job_pb2.JOB_STATE_FINISHED)
            assert sum(each.objects for each in job.progress) == len(OBJECTS)
            assert sum(each.bytes for each in job.progress) == sum(map(len, OBJECTS.values()))
            assert await chunk_counts(channel) == [count] * len(OBJECTS)
        with pytest.raises(BucketNotFound):
            await start(channel, 1, bucket=BucketReference(name="missing"))


async def check_rest(channel: grpc.aio.Channel, running: str) -> None:
    """AIStore's action meets the same job."""
    reference = messages.bucket_reference_from_message(BUCKET)
    same, other = RechunkMessage(1, MIB), RechunkMessage(1, 2 * MIB)
    assert await start_rechunk(lambda: (channel, "p1"), reference, same) == running
    with pytest.raises(Conflict) as caught:
        await start_rechunk(lambda: (channel, "p1"), reference, other)
    assert row_of(type(caught.value)).status == 409


@pytest.mark.slow
async def test_a_rechunk_survives_its_targets_death_and_is_one_at_a_time(own_nodes: Nodes) -> None:
    slow = own_nodes.target("t1", rechunk_bytes_per_second=MIB).start()
    own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel:
        await fill(channel)
        job = await start(channel, 1)
        assert (await start(channel, 1)).id == job.id
        for above, prefix in ((2, ""), (1, "n")):
            with pytest.raises(Conflict, match=job.id):
                await start(channel, above, prefix=prefix)
        await check_rest(channel, job.id)
        await under_way(channel, job.id)
        slow.kill()
        own_nodes.target("t1").start()
        ended = await finished(channel, job.id)
        assert (ended.state, ended.progress[0].objects) == (job_pb2.JOB_STATE_FINISHED, len(OBJECTS))
        assert await chunk_counts(channel) == [2] * len(OBJECTS)
        assert (await start(channel, 2)).id != job.id


@pytest.mark.slow
async def test_a_rechunk_of_a_bucket_that_is_removed_ends(own_nodes: Nodes) -> None:
    own_nodes.target("t1", rechunk_bytes_per_second=MIB).start()
    own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel:
        await fill(channel)
        job = await start(channel, 1)
        await under_way(channel, job.id)
        purged = await finished(channel, await delete_bucket(channel, BUCKET))
        ended = await finished(channel, job.id)
        assert (purged.state, ended.state) == (job_pb2.JOB_STATE_FINISHED, job_pb2.JOB_STATE_FAILED)
        assert "removed" in ended.progress[0].error
