"""Past every limit of a live cluster: connections, descriptors, memory, and workers that are killed for it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvloop

from shoal_bench.overload import Client, Plan, Report, place_of, run, workers
from support.cluster import Cluster, is_alive
from support.fault_counts import FaultRun, box_seconds
from support.workload import wait_until

pytestmark = pytest.mark.slow

GATEWAYS = ("g1", "g2")
REQUESTS_MAX = 32
REQUEST_BYTES_MAX = 64 << 20
BASE_MIB = 160
"""Of a worker that has served anything, with what its allocator keeps; docs/limits.md has the sum."""
CONNECTION_KIB = 24
NewCluster = Callable[..., Cluster]


@pytest.fixture
def pressed() -> Iterator[NewCluster]:
    """Makes clusters with settings of their own."""
    with ExitStack() as stack:

        def new(**options: object) -> Cluster:
            cluster = Cluster.temporary(**options)
            stack.callback(cluster.remove)
            return cluster.start()

        yield new


def storm(cluster: Cluster, **plan: object) -> Report:
    return uvloop.run(run(Plan(cluster.data, **plan)))  # type: ignore[arg-type]  # fields of a plan


def descriptors(cluster: Cluster) -> dict[str, int]:
    return {worker.name: worker.descriptors for worker in workers(cluster.data) if worker.name in GATEWAYS}


def pids(cluster: Cluster) -> dict[str, int]:
    return {name: cluster.pid(name) for name in (*GATEWAYS, "t1", "p1")}


def check_nothing_lost(report: Report) -> None:
    assert (report.lost, report.answers.get("GET of wrong bytes", 0)) == (0, 0), report.answers
    assert report.acknowledged, report.answers
    assert report.refused_without_retry_after == 0, report.answers


def memory_bound_mib(connections: int) -> float:
    """What docs/limits.md promises of a worker."""
    return BASE_MIB + REQUEST_BYTES_MAX / (1 << 20) + connections * CONNECTION_KIB / 1024


@pytest.mark.fault(id="L4")
def test_idle_connections_leave_active_ones_alone_and_give_everything_back(
    pressed: NewCluster, fault_run: FaultRun
) -> None:
    cluster = pressed()
    before = descriptors(cluster)
    report = storm(cluster, idle=2000, clients=32, seconds=10)
    check_nothing_lost(report)
    assert set(report.answers) <= {"GET 200", "PUT 200", "idle 200"}
    wait_until(
        lambda: all(now <= before[name] + 40 for name, now in descriptors(cluster).items()),
        30,
        "descriptors back",
    )
    fault_run.count = 2000
    fault_run.note_worst("resident_mib", max(each.resident_mib for each in report.highest))


@pytest.mark.fault(id="L6")
def test_four_times_as_many_clients_as_places_are_told_to_come_later_and_nothing_is_lost(
    pressed: NewCluster, fault_run: FaultRun
) -> None:
    settings = {
        "SHOAL_GATEWAY_REQUESTS_MAX": str(REQUESTS_MAX),
        "SHOAL_GATEWAY_REQUEST_BYTES_MAX": str(REQUEST_BYTES_MAX),
    }
    cluster = pressed(settings=settings)
    clients = 4 * REQUESTS_MAX * len(GATEWAYS)
    peak = storm(cluster, clients=REQUESTS_MAX, seconds=10, size=256 << 10)
    report = storm(cluster, clients=clients, seconds=box_seconds(60), size=256 << 10, rude=True)
    check_nothing_lost(peak)
    check_nothing_lost(report)
    assert report.answers.get("PUT 503", 0) > 0
    for worker in report.highest:
        if worker.name in GATEWAYS:
            assert worker.resident_mib < memory_bound_mib(clients), worker
    fault_run.count = round(report.seconds)
    fault_run.note_worst("goodput_of_peak", report.served_per_second / peak.served_per_second)
    fault_run.note_worst("resident_mib", max(each.resident_mib for each in report.highest))


@pytest.mark.fault(id="F16")
def test_with_256_descriptors_a_cluster_refuses_what_is_too_much_and_recovers(
    pressed: NewCluster, fault_run: FaultRun
) -> None:
    cluster = pressed(under=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    before = pids(cluster)
    for _ in fault_run.cycles(1, seconds=60):
        report = storm(cluster, idle=400, clients=64, seconds=8, rude=True)
        check_nothing_lost(report)
        assert all(worker.descriptors <= 256 for worker in report.highest if worker.name != "etcd")
    assert pids(cluster) == before, "nobody died"
    after = storm(cluster, clients=4, seconds=3)
    check_nothing_lost(after)
    assert set(after.answers) <= {"GET 200", "PUT 200"}, "all is well when the crowd is gone"


@pytest.mark.fault(id="F16")
def test_processes_that_are_killed_for_their_memory_lose_nothing_that_was_acknowledged(
    pressed: NewCluster, fault_run: FaultRun
) -> None:
    """The kernel's out-of-memory killer sends SIGKILL, as this does."""
    cluster = pressed()
    for cycle in fault_run.cycles(5, seconds=90):
        killer = threading.Timer(1.5, cluster.kill, (("g1", "t1", "g2", "t1", "p1")[cycle % 5],))
        killer.start()
        report = storm(cluster, clients=16, seconds=4)
        killer.join()
        cluster.wait_ready()
        check_nothing_lost(report)


@pytest.mark.fault(id="F16")
def test_gateways_under_a_memory_cap_refuse_rather_than_die(pressed: NewCluster, fault_run: FaultRun) -> None:
    cluster = pressed()
    before = pids(cluster)
    with memory_cap([cluster.pid(name) for name in GATEWAYS], 320 << 20) as is_capped:
        if not is_capped:
            pytest.skip("may make no cgroup here")
        for _ in fault_run.cycles(1, seconds=40):
            check_nothing_lost(storm(cluster, clients=96, seconds=10, size=2 << 20, rude=True))
    assert pids(cluster) == before, "nobody was killed"


def test_health_is_answered_while_everything_else_is_refused(pressed: NewCluster) -> None:
    cluster = pressed(settings={"SHOAL_GATEWAY_REQUESTS_MAX": "1"})

    async def look() -> list[int]:
        busy = asyncio.create_task(run(Plan(cluster.data, clients=32, seconds=4, rude=True)))
        client, statuses = Client(place_of(cluster.data), 999), []
        while not busy.done():
            statuses.append((await client.ask("GET", "/v1/health")).status)
        await busy
        client.close()
        return statuses

    assert set(uvloop.run(look())) == {200}


@contextmanager
def memory_cap(processes: list[int], bytes_max: int) -> Iterator[bool]:
    """The processes in a cgroup with so much memory; false where none can be made."""
    first = Path("/sys/fs/cgroup/memory")
    group = (first if first.is_dir() else first.parent) / f"shoal-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if first.is_dir() else "memory.max")
    try:
        homes = {pid: home_of(pid) for pid in processes}
        group.mkdir()
        limit.write_text(str(bytes_max))
        for pid in processes:
            (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        for pid in filter(is_alive, processes):
            (homes[pid] / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def home_of(pid: int) -> Path:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
    if "memory" in paths:
        return Path("/sys/fs/cgroup/memory") / paths["memory"]
    return Path("/sys/fs/cgroup") / paths[""]
