"""The job `scrub`: counted, paced, kept in a file, gone on with after an interruption; and with real processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest

from shoal.common.v1.common_pb2 import BucketReference
from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_core.errors import DataCorrupt
from shoal_core.etcd.client import EtcdClient
from shoal_core.jobs import NO_BUCKET, JobSpecification, ProgressReport
from shoal_core.load import Pace
from shoal_core.objects import BucketId
from shoal_store.engine import Engine
from shoal_store.scrub import BATCH_ROWS
from shoal_target.job_runner import Work
from shoal_target.scrub import FILE, FINDINGS_MAX, ScrubReport, load_report, scrub_with
from support.buckets import SECONDS_MAX, create_bucket, finished
from support.engines import BUCKET, put, put_many, running_engine, stored
from support.etcd import EtcdServer
from support.node import Nodes
from support.uploads import put as put_by_rpc

JOB = JobSpecification("scrub", NO_BUCKET, BucketId(b""), ("t1",), 1)
LARGE = bytes(200_000)


@dataclass
class Clock:
    """Time passes only in sleeps, and a little with each look, so that every position is saved."""

    now: float = 0.0
    slept: float = 0.0
    sleeps_left: int = 1_000_000

    def __call__(self) -> float:
        self.now += 100.0
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.sleeps_left -= 1
        if not self.sleeps_left:
            raise asyncio.CancelledError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd")).start()
    yield server
    server.kill()


@pytest.fixture
async def etcd(server: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([server.endpoint], tls=None) as client:
        yield client


@pytest.fixture
def progress(etcd: EtcdClient) -> ProgressReport:
    return ProgressReport(etcd, "j1", "t1")


def scrub_of(engine: Engine, folder: Path, clock: Clock, *, rows_per_second: float = 1e9) -> Work:
    # Sleeps alone move the paces' clock, so that all of the waiting is seen.
    rows = Pace(rows_per_second, clock=lambda: clock.slept, sleep=clock.sleep)
    bytes_pace = Pace(1e12, clock=Clock(), sleep=clock.sleep)
    return scrub_with(engine, folder, rows_pace=rows, bytes_pace=bytes_pace, clock=clock)


async def test_a_clean_store_is_counted(tmp_path: Path, progress: ProgressReport) -> None:
    async with running_engine(tmp_path) as engine:
        await put_many(engine, ["a", "b", "c"])
        await put(engine, "large", LARGE)
        await scrub_of(engine, tmp_path, Clock())(JOB, progress)
    assert (progress.objects, progress.bytes) == (4, 3 + len(LARGE))
    report = load_report(tmp_path / FILE, "j1")
    assert (report.rows, report.objects, report.bytes, report.damages) == (4, 4, 3 + len(LARGE), 0)
    assert report.ended_ns


async def test_the_pace_is_kept(tmp_path: Path, progress: ProgressReport) -> None:
    clock = Clock()
    async with running_engine(tmp_path) as engine:
        await put_many(engine, [f"n{number}" for number in range(2 * BATCH_ROWS)])
        await scrub_of(engine, tmp_path, clock, rows_per_second=10)(JOB, progress)
    assert clock.slept == pytest.approx(2 * BATCH_ROWS / 10)


async def test_damage_fails_the_job_and_is_listed(tmp_path: Path, progress: ProgressReport) -> None:
    async with running_engine(tmp_path) as engine:
        for name in ("a", "b", "c", "d"):
            await put(engine, name, LARGE)
        for file in stored(tmp_path):
            file.write_bytes(b"x" + file.read_bytes()[1:])
        with pytest.raises(DataCorrupt, match=r"^4 damaged: damaged-chunk mp.:.*scrub\.json"):
            await scrub_of(engine, tmp_path, Clock())(JOB, progress)
    report = load_report(tmp_path / FILE, "j1")
    assert sorted(finding.what for finding in report.findings) == ["a", "b", "c", "d"]


async def test_the_list_of_damages_is_bounded(tmp_path: Path, progress: ProgressReport) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        index = engine.indexes["mp1"]
        with index.write() as transaction:
            for number in range(FINDINGS_MAX + 7):
                index.put_row(transaction, "records", key=BUCKET.id + f"{number}".encode(), value=b"damaged")
        with pytest.raises(DataCorrupt, match=f"^{FINDINGS_MAX + 7} damaged"):
            await scrub_of(engine, tmp_path, Clock())(JOB, progress)
    assert len(load_report(tmp_path / FILE, "j1").findings) == FINDINGS_MAX


async def test_an_interrupted_scrub_goes_on_where_it_was(
    tmp_path: Path, etcd: EtcdClient, progress: ProgressReport
) -> None:
    names = [f"n{number:04}" for number in range(4 * BATCH_ROWS)]
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put_many(engine, names)
        stopping = Clock(sleeps_left=3)
        with pytest.raises(asyncio.CancelledError):
            await scrub_of(engine, tmp_path, stopping, rows_per_second=1)(JOB, progress)
        assert load_report(tmp_path / FILE, "j1").rows == 3 * BATCH_ROWS
        again, clock = ProgressReport(etcd, "j1", "t1"), Clock()
        await scrub_of(engine, tmp_path, clock, rows_per_second=1)(JOB, again)
        assert clock.slept == pytest.approx(BATCH_ROWS)
    assert (again.objects, load_report(tmp_path / FILE, "j1").rows) == (len(names), len(names))


async def test_a_scrub_that_had_ended_is_only_told_again(
    tmp_path: Path, etcd: EtcdClient, progress: ProgressReport
) -> None:
    """Its end may not have reached etcd."""
    async with running_engine(tmp_path) as engine:
        await put_many(engine, ["a", "b"])
        work = scrub_of(engine, tmp_path, Clock())
        await work(JOB, progress)
        await put_many(engine, ["c"])
        again = ProgressReport(etcd, "j1", "t1")
        await work(JOB, again)
        other = ProgressReport(etcd, "j2", "t1")
        await work(JOB, other)
    assert (again.objects, other.objects) == (2, 3)


@pytest.mark.parametrize("content", [b"", b"{", b'{"job": 1}', b"\xff"])
def test_a_report_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert load_report(tmp_path / FILE, "j1") == ScrubReport("j1")


async def start_scrub(channel: grpc.aio.Channel) -> job_pb2.Job:
    request = job_pb2.StartScrubRequest()
    return (await JobServiceStub(channel).StartScrub(request, timeout=SECONDS_MAX)).job


@pytest.mark.slow
async def test_a_scrub_of_a_cluster_finds_a_flipped_bit(own_nodes: Nodes) -> None:
    own_nodes.target("t1").start()
    own_nodes.target("t2").start()
    own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel:
        await create_bucket(channel, BucketReference(name="b"))
        for number in range(20):
            data = os.urandom(100_000)
            await put_by_rpc(ObjectServiceStub(channel), BucketReference(name="b"), f"n{number}", data=data)
        clean = await finished(channel, (await start_scrub(channel)).id)
        assert clean.state == job_pb2.JOB_STATE_FINISHED
        assert sum(each.objects for each in clean.progress) == 20
        assert not clean.HasField("bucket")
        damaged = own_nodes.chunk_files("t2")[0]
        damaged.write_bytes(damaged.read_bytes()[:-200] + bytes(200))
        job = await finished(channel, (await start_scrub(channel)).id)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert {each.target: each.error[:24] for each in job.progress} == {
        "t1": "",
        "t2": "1 damaged: damaged-chunk",
    }


@pytest.mark.slow
async def test_a_scrub_survives_its_targets_restart(own_nodes: Nodes) -> None:
    slow = own_nodes.target("t1", scrub_rows_per_second=1).start()
    own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel:
        await create_bucket(channel, BucketReference(name="b"))
        for number in range(5):
            await put_by_rpc(ObjectServiceStub(channel), BucketReference(name="b"), f"n{number}", data=b"x")
        job = await start_scrub(channel)
        assert (await start_scrub(channel)).id == job.id
        slow.kill()
        own_nodes.target("t1").start()
        ended = await finished(channel, job.id)
    assert (ended.state, ended.progress[0].objects) == (job_pb2.JOB_STATE_FINISHED, 5)
