"""kill -9 of targets and gateways at any byte of any kind of write: acknowledged is there, unfinished never was."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import requests

from model.agreement import digest
from model.cluster_subject import by_target, in_time, patiently
from model.doors import Door, GrpcDoor, Missing, RestDoor, S3Door
from shoal_store.fsck import verify
from support.cluster import Cluster
from support.cut_writes import KINDS, Attempt, Gate, Writer, new_body
from support.fault_counts import FaultRun
from support.workload import wait_until

pytestmark = pytest.mark.slow

BUCKETS = ("plain", "chunked")
CHUNK_BYTES = 1 << 20
SWEPT_SECONDS_MAX = 30
PROCESSES = ("t1", "t2", "t3", "g1", "g2")
VICTIMS_MAX = 4


@dataclass
class Known:
    """What each object holds, as the last cycle left it."""

    cluster: Cluster
    source: bytes
    bodies: dict[tuple[str, str], bytes | None] = field(default_factory=dict)

    def attempts(self, chance: random.Random) -> dict[str, Attempt]:
        """One of each kind, on a key of its own."""
        made = {}
        for kind in KINDS:
            bucket, name = chance.choice(BUCKETS), f"{kind}-{chance.randrange(3)}"
            old = self.bodies.get((bucket, name))
            gate = Gate(chance.random(), before_end=chance.random() < 0.4, goes_away=chance.random() < 0.5)
            if kind == "rest_delete":
                old = self.bodies.get((bucket, name := f"{chance.choice(sorted(KINDS))}-3"))
            kind = "rest_put" if kind == "rest_delete" and old is None else kind
            made[f"{kind} {bucket}/{name}"] = Attempt(
                bucket, name, old, new_body(kind, old, source=self.source, chance=chance), gate
            )
        return made

    def look(self, attempt: Attempt, what: str, chance: random.Random) -> None:
        """Raises AssertionError unless the object is as the attempt may have left it."""
        door = chance.choice((RestDoor, S3Door))(self.cluster, attempt.bucket)
        held = body_through(door, attempt.name)
        allowed = [told(body) for body in attempt.allowed()]
        assert told(held) in allowed, (
            f"{what}, {'acknowledged' if attempt.acknowledged else 'not acknowledged'}, "
            f"{'sent' if attempt.sent_whole else 'not sent'} whole: has {told(held)}, not one of {allowed}"
        )
        self.bodies[attempt.bucket, attempt.name] = held

    def look_at_lists(self) -> None:
        for bucket in BUCKETS:
            expected = {
                name: len(body)
                for (of, name), body in self.bodies.items()
                if of == bucket and body is not None
            }
            for door in (RestDoor, S3Door, GrpcDoor):
                opened = door(self.cluster, bucket)
                assert in_time(opened.sizes) == expected | {"source": len(self.source)}
                opened.close()


def told(body: bytes | None) -> tuple[int, str] | None:
    return None if body is None else digest(body)


def body_through(door: Door, name: str) -> bytes | None:
    try:
        return patiently(door, name).body
    except Missing:
        return None


@pytest.mark.fault(id="F1")
@pytest.mark.parametrize("local_reads", [True, False], ids=["gateways-write", "targets-write"])
def test_writes_are_whole_or_not_at_all_although_processes_are_killed_in_the_middle(
    new_cluster: Callable[..., Cluster], fault_run: FaultRun, local_reads: bool
) -> None:
    cluster = new_cluster(targets=3, local_reads=local_reads)
    known = Known(cluster, fault_run.chance.randbytes(3 * CHUNK_BYTES + 77))
    make_buckets(known)
    for _ in fault_run.cycles(25, seconds=45):
        one_cycle(cluster, known, fault_run)
    known.look_at_lists()
    wait_until(lambda: cluster.leftovers() == [], SWEPT_SECONDS_MAX, "what the dead have left is swept")
    cluster.stop()
    assert_sound(cluster, fault_run)


def make_buckets(known: Known) -> None:
    chunks = {"objsize_limit": CHUNK_BYTES, "chunk_size": CHUNK_BYTES}
    for bucket, properties in (("plain", {}), ("chunked", {"chunks": chunks})):
        url = f"{known.cluster.endpoint}/v1/buckets/{bucket}"
        answer = requests.post(url, json={"action": "create-bck", "value": properties}, timeout=30)
        assert answer.status_code == 200, answer.text
        RestDoor(known.cluster, bucket).put("source", known.source)


def one_cycle(cluster: Cluster, known: Known, run: FaultRun) -> None:
    attempts = known.attempts(run.chance)
    writer = Writer(cluster, known.source)
    for what, attempt in attempts.items():
        writer.begin(KINDS[what.split()[0]], attempt)
    for what, attempt in attempts.items():
        assert attempt.gate.reached.wait(30), f"{what} did not come to its gate"
    # The last bytes and the kill are on their way at the same time.
    order = run.chance.sample(list(attempts.values()), len(attempts))
    for attempt in order:
        if attempt.gate.before_end:
            attempt.gate.opened.set()
    victims = run.chance.sample(PROCESSES, run.chance.randint(1, VICTIMS_MAX))
    # Each of them was killed in the middle of something.
    run.count += len(victims) - 1
    with cluster.held_down(*victims):
        for attempt in order:
            attempt.gate.opened.set()
        writer.join()
        began = time.monotonic()
    run.note_worst("restart_seconds", time.monotonic() - began)
    for what, attempt in attempts.items():
        assert attempt.failure is None, f"{what}: {attempt.failure!r}"
        known.look(attempt, what, run.chance)


def assert_sound(cluster: Cluster, run: FaultRun) -> None:
    orphans = 0
    for mountpaths in by_target(cluster.mountpaths()).values():
        report = verify(mountpaths)
        assert [each for each in report.findings if not each.harmless] == []
        orphans += report.orphans
    run.note_worst("orphans", orphans)
