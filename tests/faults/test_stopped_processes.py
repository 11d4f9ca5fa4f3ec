"""A target or gateway stopped anywhere in a write, and its slots given to another: it speaks for nobody any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest
import requests

from model.cluster_subject import patiently
from model.doors import Door, GrpcDoor, Missing, NotSent, RestDoor, S3Door, Unanswered
from shoal_client.client import ShoalClient
from shoal_client.remote import RemoteObjectStore
from shoal_core.certificates import TlsFiles
from shoal_core.errors import StaleEpoch
from shoal_core.jobs import JobState
from shoal_core.objects import BucketReference
from shoal_core.rpc import Channels
from support.cluster import Cluster
from support.fault_counts import FaultRun
from support.placing import has_lease, layout_of, place_on
from support.stopping import can_stop_at_calls, let_go_on, stands_still, stop, stopping_at
from support.workload import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_stop_at_calls(), reason="needs strace, and root to use it on any process"),
]

BUCKET = "moved"
OLD_OWNER, NEW_OWNER, GATEWAY = "t1", "t2", "g1"
LEASE_SECONDS = 3
CALLS_MAX = 16
SIZES = (100, 200_000)
WRITERS = 4
"""At a time, of the gateway that stands still for hours."""


@pytest.fixture(scope="module")
def cluster(module_cluster: Callable[..., Cluster]) -> Cluster:
    """One gateway: what is asked over HTTP is asked of it."""
    cluster = module_cluster(targets=2, workers=1)
    cluster.start_with((OLD_OWNER, NEW_OWNER), lease_seconds=LEASE_SECONDS, cleanup_age_seconds=0)
    requests.post(f"{cluster.endpoint}/v1/buckets/{BUCKET}", json={"action": "create-bck"}, timeout=30)
    return cluster


@dataclass
class Asked:
    """A request in a thread, which may not be answered before somebody goes on."""

    work: Callable[[], object]
    outcome: object = None
    failure: BaseException | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self.work()
        except BaseException as error:
            self.failure = error

    def ended(self) -> bool:
        return not self.thread.is_alive()

    def acknowledged(self) -> bool:
        self.thread.join()
        assert self.failure is None or isinstance(self.failure, NotSent | Unanswered), repr(self.failure)
        return self.failure is None


@pytest.mark.fault(id="F4")
@pytest.mark.parametrize("victim", [OLD_OWNER, GATEWAY])
def test_what_was_stopped_in_a_write_acknowledges_nothing_for_its_successor(
    cluster: Cluster, fault_run: FaultRun, victim: str
) -> None:
    chance = fault_run.chance
    for number in fault_run.cycles(5, seconds=40):
        give_back(cluster)
        name = name_owned_by(cluster, OLD_OWNER, f"{fault_run.seed}-{number}")
        old, new, newer = (chance.randbytes(chance.choice(SIZES)) for _ in range(3))
        RestDoor(cluster, BUCKET).put(name, old)
        writing = stopped_while_writing(cluster, victim, name, new, call=chance.randint(0, CALLS_MAX))
        overwritten = chance.random() < 0.5
        try:
            in_time = hand_over(cluster, victim, writing, gateway_runs=victim != GATEWAY)
            if overwritten:
                patient_put(cluster, name, newer)
            readings = [Asked(reading(cluster, victim, name))] if overwritten else []
        finally:
            let_go_on(cluster.pid(victim))
        acknowledged = writing.acknowledged()
        # It began before the other one, so whichever came last is there. Alone, it must be there if the old owner
        # acknowledged it when it was none; a gateway that stood still may have an answer from before.
        allowed: list[bytes | None] = [newer] if in_time else [newer, new]
        if not overwritten:
            late = victim == OLD_OWNER and acknowledged and not in_time
            allowed = [new] if late else [None, new]
        for asked in readings:
            asked.thread.join()
            assert asked.failure is None, repr(asked.failure)
            assert asked.outcome in (newer, new, StaleEpoch), "a stale read"
        seen = {held(kind(cluster, BUCKET), name) for kind in (RestDoor, S3Door, GrpcDoor)}
        assert len(seen) == 1
        assert seen <= set(allowed), f"acknowledged: {acknowledged}"


@pytest.mark.fault(id="F4")
def test_a_gateway_that_goes_on_before_its_target_serves_nothing_old(
    cluster: Cluster, fault_run: FaultRun
) -> None:
    for number in fault_run.cycles(2, seconds=20):
        give_back(cluster)
        name = name_owned_by(cluster, OLD_OWNER, f"both-{fault_run.seed}-{number}")
        RestDoor(cluster, BUCKET).put(name, b"old")
        both = cluster.pid(OLD_OWNER), cluster.pid(GATEWAY)
        for pid in both:
            stop(pid)
        try:
            hand_over(cluster, OLD_OWNER)
            patient_put(cluster, name, b"new")
            asked = Asked(reading(cluster, GATEWAY, name))
            let_go_on(cluster.pid(GATEWAY))
            asked.thread.join()
        finally:
            for pid in both:
                let_go_on(pid)
        assert asked.outcome == b"new" or isinstance(asked.failure, Unanswered), asked.failure
        assert held(RestDoor(cluster, BUCKET), name) == b"new"


@pytest.mark.fault(id="F4")
def test_a_gateway_that_was_stopped_serves_no_bucket_that_has_been_removed_meanwhile(
    cluster: Cluster, fault_run: FaultRun
) -> None:
    for number in fault_run.cycles(2, seconds=20):
        bucket = f"gone-{fault_run.seed}-{number}"
        url = f"{cluster.endpoint}/v1/buckets/{bucket}"
        requests.post(url, json={"action": "create-bck"}, timeout=30)
        RestDoor(cluster, bucket).put("a", b"old")
        gateway = cluster.pid(GATEWAY)
        stop(gateway)
        try:
            asyncio.run(made_anew(cluster, bucket))
            asked = Asked(reading(cluster, GATEWAY, "a", bucket=bucket))
        finally:
            let_go_on(gateway)
        asked.thread.join()
        assert asked.outcome == b"new", asked.failure


@pytest.mark.fault(id="F4")
def test_a_gateway_that_stood_still_for_hours_in_its_writes_keeps_what_it_acknowledges(
    cluster: Cluster, fault_run: FaultRun
) -> None:
    """Hours are collections: every file is old enough for them from the beginning (`cleanup_age_seconds`)."""
    chance, gateway = fault_run.chance, cluster.pid(GATEWAY)
    for number in fault_run.cycles(5, seconds=60):
        give_back(cluster)
        names = [f"hours-{fault_run.seed}-{number}-{writer}" for writer in range(WRITERS)]
        bodies = {name: [chance.randbytes(size) for size in (100, 200_000)] for name in names}
        for name, (old, _) in bodies.items():
            RestDoor(cluster, BUCKET).put(name, old)
        with stopping_at(gateway, chance.randint(1, CALLS_MAX)):
            writings = {
                name: Asked(partial(RestDoor(cluster, BUCKET).put, name, new))
                for name, (_, new) in bodies.items()
            }
            stands_still(gateway, partial(have_ended, list(writings.values())))
        try:
            stop(gateway)
            asyncio.run(collect(cluster))
            if chance.random() < 0.5:
                # Who has forgotten what it collected must know what is in flight all the more.
                for target in (OLD_OWNER, NEW_OWNER):
                    cluster.kill(target)
                asyncio.run(collect(cluster))
            for name, allowed in bodies.items():
                assert held(GrpcDoor(cluster, BUCKET), name) in allowed
        finally:
            let_go_on(gateway)
        acknowledged = {name for name, writing in writings.items() if writing.acknowledged()}
        asyncio.run(collect(cluster))
        for name, (old, new) in bodies.items():
            seen = {held(kind(cluster, BUCKET), name) for kind in (RestDoor, S3Door, GrpcDoor)}
            assert len(seen) == 1
            assert seen <= ({new} if name in acknowledged else {old, new})


def have_ended(writings: Sequence[Asked]) -> bool:
    return all(writing.ended() for writing in writings)


async def collect(cluster: Cluster) -> None:
    async with ShoalClient.connect(cluster.grpc_address, ca=cluster.ca) as client:
        job = await client.jobs.ended((await client.jobs.start_cleanup()).id)
        assert job.state is JobState.FINISHED, job


async def made_anew(cluster: Cluster, bucket: str) -> None:
    async with ShoalClient.connect(cluster.grpc_address, ca=cluster.ca) as client:
        await client.delete_bucket(bucket)
        await client.create_bucket(bucket)
        await client.bucket(bucket).put("a", b"new")


def stopped_while_writing(cluster: Cluster, victim: str, name: str, body: bytes, *, call: int) -> Asked:
    """At the so many-th system call since the write began; 0: before it."""
    pid = cluster.pid(victim)

    def write() -> Asked:
        return Asked(lambda: RestDoor(cluster, BUCKET).put(name, body))

    if not call:
        stop(pid)
        return write()
    with stopping_at(pid, call):
        writing = write()
        stopped = stands_still(pid, writing.ended)
    if not stopped:
        stop(pid)
    return writing


def hand_over(
    cluster: Cluster, victim: str, writing: Asked | None = None, *, gateway_runs: bool = False
) -> bool:
    """All slots to the other target, when the old one's lease is over, if it is that which stands still. Whether the
    write had been acknowledged before: objects do not move."""
    if victim == OLD_OWNER:
        wait_until(lambda: not has_lease(cluster, OLD_OWNER), 30, "the end of the lease")
    in_time = writing is not None and writing.ended()
    probe = name_owned_by(cluster, OLD_OWNER, "moving")
    place_on(cluster, NEW_OWNER)
    # Until whoever runs goes by it: nothing makes a gateway wait for a placement yet.
    patient_put(cluster, probe, b"probe")
    if gateway_runs:
        wait_until(lambda: puts(RestDoor(cluster, BUCKET), probe), 60, "the gateway's map")
    return in_time


def give_back(cluster: Cluster) -> None:
    place_on(cluster, OLD_OWNER, NEW_OWNER)
    wait_until(lambda: has_lease(cluster, OLD_OWNER), 30, "a lease for the old owner")
    wait_until(lambda: name_owned_by(cluster, OLD_OWNER, "probe") != "", 30, "the clients' map")
    name = name_owned_by(cluster, OLD_OWNER, "probe")
    wait_until(lambda: puts(RestDoor(cluster, BUCKET), name), 30, "writes to the old owner")


def reading(cluster: Cluster, victim: str, name: str, *, bucket: str = BUCKET) -> Callable[[], object]:
    """A read of the process that stands still, as its old clients ask."""
    if victim == GATEWAY:
        return lambda: RestDoor(cluster, bucket).get(name).body
    return lambda: asyncio.run(read_by_old_map(cluster, name))


async def read_by_old_map(cluster: Cluster, name: str) -> object:
    async with ShoalClient.connect(cluster.grpc_address, ca=cluster.ca) as client:
        bucket = await client.resolve(BucketReference(BUCKET))
        channels = Channels(TlsFiles(cluster.ca))
        try:
            channel = channels.get(f"127.0.0.1:{layout_of(cluster).ports[f'{OLD_OWNER}-public']}")
            epoch = client.cluster_map.placement_epoch - 1
            store = RemoteObjectStore(channel, peer=OLD_OWNER, epoch=lambda: epoch)
            body = await store.open(bucket, name)
            return b"".join([piece async for piece in body.chunks()])
        except StaleEpoch:
            return StaleEpoch
        finally:
            await channels.close()


def name_owned_by(cluster: Cluster, target: str, prefix: str) -> str:
    async def look() -> str:
        async with ShoalClient.connect(cluster.grpc_address, ca=cluster.ca) as client:
            bucket = await client.resolve(BucketReference(BUCKET))
            names = (f"{prefix}-{number}" for number in range(1000))
            owned = (each for each in names if client.cluster_map.target_of(bucket.id, each).id == target)
            return next(owned, "")

    return asyncio.run(look())


def patient_put(cluster: Cluster, name: str, body: bytes) -> None:
    door = GrpcDoor(cluster, BUCKET)
    try:
        wait_until(lambda: puts(door, name, body), 30, "the new owner takes writes")
    finally:
        door.close()


def puts(door: Door, name: str, body: bytes = b"probe") -> bool:
    try:
        door.put(name, body)
    except (NotSent, Unanswered):
        return False
    return True


def held(door: Door, name: str) -> bytes | None:
    try:
        return patiently(door, name).body
    except Missing:
        return None
    finally:
        door.close()
