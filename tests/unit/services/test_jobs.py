"""Jobs on a real etcd: found at once, done once, done again after a crash, and forgotten in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from shoal_core.errors import InvalidArgument, JobNotFound, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.jobs import (
    Job,
    JobBoard,
    JobSpecification,
    JobState,
    ProgressReport,
    encode_specification,
    progress_key,
    specification_key,
)
from shoal_core.objects import BucketId, BucketReference
from shoal_target.job_runner import JobRunner, Work
from support.etcd import EtcdServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd")).start()
    yield server
    server.kill()


@pytest.fixture
async def etcd(server: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([server.endpoint], tls=None) as client:
        await client.delete_prefix("/shoal/v1/jobs/")
        yield client


def specification(*targets: str, kind: str = "purge-bucket", created_ns: int = 1) -> JobSpecification:
    return JobSpecification(kind, BucketReference("b"), BucketId(b"01234567"), targets, created_ns)


async def start(etcd: EtcdClient, job_id: str, job: JobSpecification) -> None:
    await etcd.put(specification_key(job_id), encode_specification(job))


async def ended(etcd: EtcdClient, job_id: str) -> Job:
    async with asyncio.timeout(10), etcd.watch_prefix("/shoal/v1/jobs/") as changes:
        async for _ in changes:
            job = await JobBoard(etcd).get(job_id)
            if job.state is not JobState.RUNNING:
                return job
    raise AssertionError("a watch does not end")


@asynccontextmanager
async def running(etcd: EtcdClient, work: Work, *, target: str = "t1") -> AsyncIterator[None]:
    runner = asyncio.create_task(JobRunner(etcd, target, {"purge-bucket": work}).run())
    try:
        yield
    finally:
        runner.cancel()
        await asyncio.wait([runner])


async def count_three(_job: JobSpecification, report: ProgressReport) -> None:
    await report.add(objects=3, bytes=30)


async def test_a_job_is_found_the_moment_it_was_written(etcd: EtcdClient) -> None:
    await start(etcd, "j1", specification("t1"))
    job = await JobBoard(etcd).get("j1")
    assert (job.state, job.specification, job.ended_ns) == (JobState.RUNNING, specification("t1"), 0)


@pytest.mark.parametrize("name", ["none", "", "a/b", "j1/spec"])
async def test_an_unknown_job_is_not_found(etcd: EtcdClient, name: str) -> None:
    await start(etcd, "j1", specification("t1"))
    with pytest.raises(JobNotFound):
        await JobBoard(etcd).get(name)


async def test_a_job_ends_when_every_target_has_ended(etcd: EtcdClient) -> None:
    await start(etcd, "j1", specification("t1", "t2"))
    await ProgressReport(etcd, "j1", "t1").end(JobState.FINISHED)
    assert (await JobBoard(etcd).get("j1")).state is JobState.RUNNING
    await ProgressReport(etcd, "j1", "t2").end(JobState.FAILED, error="disk")
    job = await JobBoard(etcd).get("j1")
    assert (job.state, job.progress["t2"].error) == (JobState.FAILED, "disk")


async def test_a_target_does_the_jobs_that_name_it_and_says_how_much(etcd: EtcdClient) -> None:
    await start(etcd, "j1", specification("t1"))
    await start(etcd, "other", specification("t2"))
    async with running(etcd, count_three):
        job = await ended(etcd, "j1")
    assert (job.progress["t1"].objects, job.progress["t1"].bytes) == (3, 30)
    assert (await JobBoard(etcd).get("other")).progress == {}


async def test_a_job_that_was_interrupted_is_done_by_the_next_process(etcd: EtcdClient) -> None:
    entered = asyncio.Event()

    async def interrupted(_job: JobSpecification, report: ProgressReport) -> None:
        await report.add(objects=1, bytes=1)
        entered.set()
        await asyncio.Event().wait()

    await start(etcd, "j1", specification("t1"))
    async with running(etcd, interrupted):
        await asyncio.wait_for(entered.wait(), 10)
    async with running(etcd, count_three):
        job = await ended(etcd, "j1")
    assert (job.state, job.progress["t1"].objects) == (JobState.FINISHED, 3)


async def test_a_job_waits_for_what_is_away_and_fails_for_good_reasons_only(etcd: EtcdClient) -> None:
    attempts = 0

    async def work(_job: JobSpecification, _report: ProgressReport) -> None:
        nonlocal attempts
        attempts += 1
        raise Unavailable("away") if attempts == 1 else InvalidArgument("never")

    await start(etcd, "j1", specification("t1"))
    async with running(etcd, work):
        job = await ended(etcd, "j1")
    assert (attempts, job.state, job.progress["t1"].error) == (2, JobState.FAILED, "never")


async def test_a_kind_that_is_not_known_fails_and_a_bug_does_not_stop_the_runner(etcd: EtcdClient) -> None:
    async def bug(_job: JobSpecification, _report: ProgressReport) -> None:
        raise KeyError("bug")

    async with running(etcd, bug):
        await start(etcd, "j1", specification("t1", kind="dance"))
        assert "dance" in (await ended(etcd, "j1")).progress["t1"].error
        await start(etcd, "j2", specification("t1"))
        assert (await ended(etcd, "j2")).progress["t1"].error.startswith("internal error")


async def test_a_long_job_holds_up_those_of_its_kind_only(etcd: EtcdClient) -> None:
    begun: list[str] = []

    async def long(_job: JobSpecification, report: ProgressReport) -> None:
        begun.append(report.job_id)
        await asyncio.Event().wait()

    for number in range(2):
        await start(etcd, f"long-{number}", specification("t1", kind="scrub", created_ns=number))
    runner = asyncio.create_task(JobRunner(etcd, "t1", {"scrub": long, "purge-bucket": count_three}).run())
    await start(etcd, "j1", specification("t1", created_ns=7))
    assert (await ended(etcd, "j1")).state is JobState.FINISHED
    runner.cancel()
    await asyncio.wait([runner])
    assert begun == ["long-0"]


async def test_jobs_of_a_kind_are_done_one_after_the_other(etcd: EtcdClient) -> None:
    for number in range(3):
        await start(etcd, f"j{number}", specification("t1", created_ns=number))
    async with running(etcd, count_three):
        assert (await ended(etcd, "j2")).state is JobState.FINISHED
    assert {job.state for job in await JobBoard(etcd).list()} == {JobState.FINISHED}


async def test_only_the_oldest_jobs_that_have_ended_are_forgotten(etcd: EtcdClient) -> None:
    for number in range(5):
        await start(etcd, f"j{number}", specification("t1", created_ns=number))
        if number:
            await ProgressReport(etcd, f"j{number}", "t1").end(JobState.FINISHED)
    assert await JobBoard(etcd).forget_old(keep=2) == 2
    assert [job.id for job in await JobBoard(etcd).list()] == ["j4", "j3", "j0"]
    assert await etcd.get(progress_key("j1", "t1")) is None


async def test_a_damaged_record_hides_no_other_job(etcd: EtcdClient) -> None:
    await etcd.put(specification_key("bad"), b"{")
    await start(etcd, "good", specification("t1"))
    assert [job.id for job in await JobBoard(etcd).list("purge-bucket")] == ["good"]
