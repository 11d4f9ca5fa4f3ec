"""etcd of three members: its leader killed again and again, then all of it; reads go on, writes as long as they may."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from model.doors import Door, GrpcDoor, RestDoor, S3Door
from support.cluster import Cluster
from support.fault_counts import FaultRun, box_seconds
from support.three_etcds import FIRST, OTHERS, ThreeEtcds
from support.workload import wait_until

pytestmark = pytest.mark.slow

BUCKET = "steady"
NAMES = [f"object-{number:02}" for number in range(12)]
DOWN_SECONDS = 60.0


@pytest.fixture(scope="module")
def etcds(module_cluster: Callable[..., Cluster]) -> Iterator[ThreeEtcds]:
    cluster = module_cluster(targets=2)
    requests.post(f"{cluster.endpoint}/v1/buckets/{BUCKET}", json={"action": "create-bck"}, timeout=30)
    with ThreeEtcds(cluster) as etcds:
        yield etcds


class Traffic:
    """Clients of every door that repeat nothing: whatever is not answered as it should be is an error."""

    def __init__(self, cluster: Cluster, *, writes: bool) -> None:
        self._stopping = threading.Event()
        self._writes = writes
        self.answers = Counter[str]()
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._work, args=(kind(cluster, BUCKET), kind.__name__))
            for kind in (RestDoor, S3Door, GrpcDoor)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """So many answers from now to each client."""
        goals = {each: count + more for each, count in self.answers.items()}
        wait_until(lambda: all(self.answers[each] >= goal for each, goal in goals.items()), 120, "answers")

    def _work(self, door: Door, who: str) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            name = f"{NAMES[number % len(NAMES)]}-{who}"
            try:
                if self._writes:
                    door.put(name, f"{name} {number}".encode() * 100)
                    assert door.get(name).body == f"{name} {number}".encode() * 100
                else:
                    assert door.get(f"{NAMES[number % len(NAMES)]}-{who}").body
            except Exception as error:
                self.errors.append(f"{who} {number}: {error!r}")
            self.answers[who] += 1
        door.close()


@pytest.mark.fault(id="F3")
def test_the_loss_of_etcds_leader_is_felt_by_nobody(etcds: ThreeEtcds, fault_run: FaultRun) -> None:
    with Traffic(etcds.cluster, writes=True) as traffic:
        wait_until(lambda: len(traffic.answers) == 3, 60, "the first answers")
        for _ in fault_run.cycles(10, seconds=90):
            with without(etcds, etcds.leader()):
                wait_until(lambda: has_leader(etcds), 60, "another leader")
                traffic.wait_for(5)
            wait_until(lambda: all(map(etcds.is_healthy, etcds.ports)), 60, "all members are back")
    assert traffic.errors == []
    fault_run.note_worst("answers", sum(traffic.answers.values()))


@pytest.mark.fault(id="F3")
def test_without_etcd_reads_go_on_and_writes_until_the_lease_runs_out(
    etcds: ThreeEtcds, fault_run: FaultRun
) -> None:
    cluster, url = etcds.cluster, f"{etcds.cluster.endpoint}/v1"
    with Traffic(cluster, writes=True) as filling:
        wait_until(lambda: len(filling.answers) == 3, 60, "the first answers")
        filling.wait_for(len(NAMES))
    assert filling.errors == []
    with ExitStack() as stack:
        for name in (FIRST, *OTHERS):
            stack.enter_context(without(etcds, name))
        end = time.monotonic() + box_seconds(DOWN_SECONDS)
        assert requests.put(f"{url}/objects/{BUCKET}/a", data=b"at once", timeout=30).status_code == 200
        with Traffic(cluster, writes=False) as traffic:
            wait_until(lambda: refused(f"{url}/objects/{BUCKET}/a"), 40, "writes are refused")
            answer = requests.post(f"{url}/buckets/never", json={"action": "create-bck"}, timeout=30)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            assert "etcd" in answer.json()["message"]
            wait_until(lambda: time.monotonic() >= end, DOWN_SECONDS + 600, "the end of the outage")
        assert traffic.errors == []
        fault_run.note_worst("reads_without_etcd", sum(traffic.answers.values()))
    wait_until(lambda: not refused(f"{url}/objects/{BUCKET}/a"), 60, "writes are taken again")
    fault_run.count += 1


def refused(url: str) -> bool:
    """Whether a write is refused, which must be said clearly."""
    answer = requests.put(url, data=b"again", timeout=30)
    if answer.status_code == 200:
        return False
    assert answer.status_code == 503, answer.text
    assert "Retry-After" in answer.headers
    assert "cannot prove its membership" in answer.json()["message"]
    return True


def without(etcds: ThreeEtcds, name: str) -> ExitStack:
    """That member is dead for as long as the block runs."""
    stack = ExitStack()
    if name == FIRST:
        stack.enter_context(etcds.cluster.held_down(FIRST))
    else:
        etcds.kill(name)
        stack.callback(etcds.start, name)
    return stack


def has_leader(etcds: ThreeEtcds) -> bool:
    try:
        etcds.leader()
    except AssertionError:
        return False
    return True
